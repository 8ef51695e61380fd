"""LoRA: two adapters and the base in one batch answer as each alone; a broken one harms none.

vLLM's CPU build gives requests without an adapter the last one's, where they share a batch (it
takes "none", -1, as an index from the end), so a rehearsal only counts those.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Failed, Setting, Steps
from benchmarks.gpu.subjects import running, wide
from benchmarks.models import make_prompt
from engines.testing.tiny import write_weights

RANK, TOKENS = 8, 24


def adapters(setting: Setting) -> None:
    """By vLLM's own calls, in an engine that Fjord started."""
    asyncio.run(_adapters(setting))


async def _adapters(setting: Setting) -> None:
    from vllm.lora.request import LoRARequest

    steps, base = Steps(setting), wide(setting).folder
    made = [make_adapter(setting.folder / f"adapter-{n}", base, seed=n) for n in (1, 2)]
    asked = [None, *(LoRARequest(path.name, n, str(path)) for n, path in enumerate(made, 1))]
    args = {"enable_lora": True, "max_loras": 2, "max_lora_rank": RANK}
    async with running(setting, "adapters", **args) as engine:
        for adapter in asked[1:]:
            await steps.take("an adapter is added", engine._llm.add_lora(adapter))
        alone = [await _told(engine, adapter) for adapter in asked]
        at_once = await steps.take(
            "all at once", asyncio.gather(*(_told(engine, adapter) for adapter in asked * 4))
        )
        await steps.take("a broken one is refused", _refused(engine, setting.folder / "none"))
        again = await _told(engine, None)
    same = sum(a == b for a, b in zip(at_once, alone * 4, strict=True))
    wrong = [n for n, told in enumerate(at_once) if nearest(told, alone) != n % len(alone)]
    bases = [n for n in wrong if not n % len(alone)]
    setting.note({"asked_at_once": len(at_once), "alike_at_once": same})
    setting.note({"mixed_up": len(wrong) - len(bases), "base_mixed_up": len(bases)})
    if len(set(alone)) != len(alone):
        raise Failed("an adapter changes nothing")
    if again != alone[0]:
        raise Failed("the base answers otherwise after all that")
    if wrong if not setting.rehearse else len(wrong) > len(bases):
        raise Failed(f"in one batch {len(wrong)} answer as another one does")


def nearest(told: str, alone: Sequence[str]) -> int:
    """Which of the answers given alone it begins like for longest. A batch of another shape may
    round otherwise, so that random weights draw another token somewhere; a mixed-up adapter is
    another one from the first token on."""
    return max(range(len(alone)), key=lambda n: _shared(told, alone[n]))


def _shared(one: str, other: str) -> int:
    """How many characters they begin alike with."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


async def _told(engine: Any, adapter: Any) -> str:
    """The engine's own way of a request, with an adapter."""
    from vllm import SamplingParams

    params = SamplingParams(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
    text = ""
    prompt, name = make_prompt(3, 16), os.urandom(8).hex()
    async for output in engine._llm.generate(prompt, params, name, lora_request=adapter):
        text = output.outputs[0].text
    return text


async def _refused(engine: Any, nowhere: Path) -> None:
    from vllm.lora.request import LoRARequest

    try:
        await engine._llm.add_lora(LoRARequest("broken", 9, str(nowhere)))
    except Exception:
        await engine.check(30)
    else:
        raise Failed("an adapter that is not there was added")


def make_adapter(folder: Path, base: Path, seed: int) -> Path:
    """As PEFT writes one, for the queries and values of every layer, with large changes."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((base / "config.json").read_text())
    hidden, head = config["hidden_size"], config["head_dim"]
    widths = {
        "q_proj": config["num_attention_heads"] * head,
        "v_proj": config["num_key_value_heads"] * head,
    }
    shapes = [
        (f"base_model.model.model.layers.{layer}.self_attn.{name}.lora_{part}.weight", shape)
        for layer in range(config["num_hidden_layers"])
        for name, width in widths.items()
        for part, shape in (("A", (RANK, hidden)), ("B", (width, RANK)))
    ]
    write_weights(folder / "adapter_model.safetensors", shapes, seed)
    told = {"peft_type": "LORA", "r": RANK, "lora_alpha": 64, "target_modules": list(widths)}
    (folder / "adapter_config.json").write_text(json.dumps({**told, "bias": "none"}))
    return folder
