"""The shipped aliases as tiny seeded models, each served by its own entry of the registry.

Weights, dtype, sizes and parallelism are replaced, nothing else. The templates are short forms of
the published ones, with their habits: what they refuse, drop, and do to calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.tiny import CONTEXT_TOKENS, byte_tokenizer, write_json
from tests.support.architectures import write_model
from tests.support.paths import DEEPSEEK_TOKENIZER, ROOT
from tests.support.remote_tokenizer import write_remote_tokenizer

TEMPLATES = Path(__file__).parent / "alias_templates"
SHRUNK = ("tensor_parallel_size", "kv_cache_dtype", "limit_mm_per_prompt")
"""Arguments of sizes, dtype and parallelism; the last, as pictures: the model's text part alone is
tiny."""
SIZES: Mapping[str, Any] = {"max_model_len": 4096, "kv_cache_memory_bytes": 2**27}
_THINK = ("<think>", "</think>")
_QWEN = (*_THINK, "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_DEEPSEEK = tuple(
    f"<｜{name}｜>"
    for name in (
        *("tool▁calls▁begin", "tool▁calls▁end", "tool▁call▁begin", "tool▁call▁end", "tool▁sep"),
        *("tool▁outputs▁begin", "tool▁outputs▁end", "tool▁output▁begin", "tool▁output▁end"),
    )
)
_KIMI = tuple(
    f"<|{name}|>"
    for name in (
        *("tool_calls_section_begin", "tool_calls_section_end", "tool_call_begin"),
        *("tool_call_argument_begin", "tool_call_end"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyAlias:
    """`specials`: its tokenizer's bos, eos, and others that no text shows; `marks`: single tokens
    that are text."""

    architecture: str
    template: str
    specials: tuple[str, ...]
    marks: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    brings_code: bool = False
    published: Path | None = None
    """Its own tokenizer, where a package carries it; used where that is installed."""

    @property
    def eos(self) -> str:
        return self.specials[1]


_CHATML = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")
_DEEPSEEK_V3 = TinyAlias(
    architecture="DeepseekV3ForCausalLM",
    template="deepseek",
    specials=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    marks=(*_THINK, *_DEEPSEEK),
    published=DEEPSEEK_TOKENIZER / "tokenizer.json",
)


def _qwen(architecture: str, template: str) -> TinyAlias:
    return TinyAlias(architecture=architecture, template=template, specials=_CHATML, marks=_QWEN)


ALIASES: Mapping[str, TinyAlias] = {
    "mixtral-8x7b": TinyAlias(
        architecture="MixtralForCausalLM", template="mixtral", specials=("<s>", "</s>")
    ),
    "qwen3-80b-instruct": _qwen("Qwen3NextForCausalLM", "qwen3"),
    "qwen3-80b-thinking": _qwen("Qwen3NextForCausalLM", "qwen3_thinking"),
    "qwen3-235b-thinking": _qwen("Qwen3MoeForCausalLM", "qwen3_thinking"),
    "qwen3-235b-instruct": _qwen("Qwen3MoeForCausalLM", "qwen3"),
    "deepseek-v3": _DEEPSEEK_V3,
    "deepseek-r1": _DEEPSEEK_V3,
    "llama-3.1-405b": TinyAlias(
        architecture="LlamaForCausalLM",
        template="llama3",
        specials=(
            *("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
            *("<|python_tag|>", "<|eom_id|>"),
        ),
    ),
    "kimi-k2": TinyAlias(
        architecture="DeepseekV3ForCausalLM",
        template="kimi_k2",
        specials=(
            *("[BOS]", "<|im_end|>", "<|im_user|>", "<|im_assistant|>", "<|im_system|>"),
            *("<|im_middle|>",),
        ),
        marks=_KIMI,
        config={"model_type": "kimi_k2"},
        brings_code=True,
    ),
    "qwen3-coder-480b": _qwen("Qwen3MoeForCausalLM", "qwen3_coder"),
    "qwen3-vl-8b": _qwen("Qwen3ForCausalLM", "qwen3_vl"),
    "llamaguard-4": TinyAlias(
        architecture="Llama4ForCausalLM",
        template="llama_guard",
        specials=("<|begin_of_text|>", "<|eot|>", "<|header_start|>", "<|header_end|>"),
    ),
}


def tokenizer_of(alias: str) -> Tokenizer:
    """The same ids where the model's folder has it as code."""
    tiny = ALIASES[alias]
    if tiny.published is None or not tiny.published.exists():
        return byte_tokenizer(tiny.specials, tiny.marks)
    tokenizer = Tokenizer.from_file(str(tiny.published))
    lacking = [mark for mark in tiny.marks if tokenizer.token_to_id(mark) is None]
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in lacking])
    return tokenizer


def make_model(folder: Path, *aliases: str) -> Path:
    """One model for these, which differ in their template alone: config, weights, tokenizer and
    templates; under 2 MB, or 40 with a published tokenizer. Returns the folder."""
    tiny, tokenizer = ALIASES[aliases[0]], tokenizer_of(aliases[0])
    folder.mkdir(parents=True)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT_TOKENS,
            "bos_token": tiny.specials[0],
            "eos_token": tiny.eos,
            "chat_template": template_of(*aliases),
        },
    )
    if tiny.brings_code:
        write_remote_tokenizer(folder, tiny.specials, tiny.marks)
    else:
        tokenizer.save(str(folder / "tokenizer.json"))
    write_model(folder, tiny.architecture, tokenizer, tiny.eos, **tiny.config)
    return folder


def template_of(*aliases: str) -> str:
    """The one of each; where they have several, `which` names another than the first's."""
    names = list(dict.fromkeys(ALIASES[alias].template for alias in aliases))
    first, *others = [(TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8") for name in names]
    for name, text in zip(names[1:], others, strict=True):
        first = f"{{%- if which == '{name}' -%}}{text}{{%- else -%}}{first}{{%- endif -%}}"
    return first


def tiny_models(folder: Path, *aliases: str) -> list[ModelSpec]:
    """Their entries over one model, with the first one's engine."""
    make_model(folder, *aliases)
    shipped = load_registry(ROOT / "model_registry.yaml", "cuda").models
    engine = _shrunk(shipped[aliases[0]].engine, folder)
    has_cases = len({ALIASES[alias].template for alias in aliases}) > 1
    return [
        replace(
            shipped[alias],
            engine=engine,
            context_tokens=SIZES["max_model_len"],
            output_tokens=1024,
            chat_template_kwargs={"which": ALIASES[alias].template} if has_cases else {},
        )
        for alias in aliases
    ]


def _shrunk(engine: EngineSpec, folder: Path) -> EngineSpec:
    kept = {name: value for name, value in engine.args.items() if name not in SHRUNK}
    return replace(engine, source=str(folder), revision=None, args={**kept, **SIZES}, images=0)
