"""PEFT's modules by llama.cpp's tensors: their names, and the order of their rows."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from engines.gguf import Array, GgufFile

_LLAMA: Final = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
ARCHITECTURES: Final = ("llama", "qwen2", "qwen3", "gemma2", "gemma3")
"""Those whose GGUFs have these names. llama's (Llama, Mistral, SmolLM2) have the rows of query and
key in another order: halves of each head beside each other."""
_LAYER = re.compile(r"(?:.+\.)?layers\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class BaseTensors:
    """What of a base's GGUF an adapter must go with. `is_whole`: the file is no part of several,
    so that what it lacks the model lacks."""

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]
    is_whole: bool
    heads: Mapping[str, int]
    """attn_q and attn_k -> how many heads; empty where layers differ."""

    @classmethod
    def of(cls, file: GgufFile) -> "BaseTensors":
        counts = [file.get(f"{{arch}}.attention.head_count{kv}") for kv in ("", "_kv")]
        queries, keys = counts[0], counts[0] if counts[1] is None else counts[1]
        is_plain = not isinstance(queries, Array) and not isinstance(keys, Array)
        return cls(
            str(file.get("general.architecture")),
            file.tensors()[0],
            int(file.get("split.count", 1)) <= 1,
            {"attn_q": int(queries), "attn_k": int(keys)} if is_plain and queries else {},
        )

    def named(self, module: str) -> str:
        """The tensor of PEFT's module. Raises ValueError."""
        if self.architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(
                f"a base of the kind {self.architecture[:40]!r}: PEFT's form is read for {known}; "
                "right would be a GGUF, as llama.cpp's convert_lora_to_gguf.py makes one"
            )
        if module == "lm_head" or module.endswith(".lm_head"):
            return "output.weight"
        layer = _LAYER.fullmatch(module)
        part = None if layer is None else _LLAMA.get(layer[2])
        if layer is None or part is None:
            raise ValueError(f"{module[:120]!r}: llama.cpp's {self.architecture} takes none there")
        return f"blk.{int(layer[1])}.{part}.weight"

    def rows(self, tensor: str) -> Callable[[int], int] | None:
        """Row of llama.cpp's matrix -> row of PEFT's; None: they are the same. Raises
        ValueError."""
        part = tensor.split(".")[-2]
        if self.architecture != "llama" or part not in ("attn_q", "attn_k"):
            return None
        heads, count = self.heads.get(part, 0), self.shapes.get(tensor, (0, 0))[1]
        if not heads or count % (2 * heads):
            raise ValueError(f"{tensor}: the base's heads have no order that is known")
        each = count // heads

        def row(index: int) -> int:
            head, within = divmod(index, each)
            return head * each + within % 2 * (each // 2) + within // 2

        return row

    def check(self, tensor: str, inputs: int, outputs: int) -> None:
        """Raises ValueError where it does not go over the base's."""
        own = self.shapes.get(tensor)
        if own is None and self.is_whole:
            raise ValueError(f"{tensor[:120]!r} is none of the base's tensors")
        if own is not None and own != (inputs, outputs):
            has = " x ".join(map(str, reversed(own)))
            raise ValueError(f"{tensor[:120]!r} is of {outputs} x {inputs}; the base's of {has}")
