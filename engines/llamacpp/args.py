"""EngineSpec.args -> llama.cpp's CommonParams: its attribute names, untouched, and our defaults."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.base import EngineUnavailable
from engines.llamacpp.thinking_budget import OPENED
from engines.registry.spec import LLAMACPP_CONTEXT_TOKENS, POOLING, Task
from engines.spelling import did_you_mean

SET_BY_FJORD = (
    "model",
    "hostnames",
    "port",
    "api_keys",
    "api_prefix",
    "embedding",
    "endpoint_metrics",
    "endpoint_slots",
    "lora_adapters",
    "lora_init_without_apply",
    "sampling.generation_prompt",
    "mmproj",
    "mmproj.path",
    "no_mmproj",
)
LONG_PROMPT_TOKENS = "long_prompt_tokens"
"""Fjord's own: of long prompts in a step beside streams (turns.py)."""
AS_IT_IS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""llama.cpp's chat template where it counts the tokens of prompts with pictures; ours is another
one (chat_template.py)."""
POOLING_SLOTS = 4
"""Inputs of vectors or scores that are read at once, unless an argument says otherwise."""
SOCKET = "llama.sock"
MORE_HTTP_THREADS = 8
"""Beside one for each call that streams: tokens, slots, metrics, long prompts' next calls."""
ENUMS = {
    "cache_type_k": ("ggml_type", "GGML_TYPE_"),
    "cache_type_v": ("ggml_type", "GGML_TYPE_"),
    "flash_attn_type": ("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_"),
    "pooling_type": ("llama_pooling_type", "LLAMA_POOLING_TYPE_"),
    "split_mode": ("llama_split_mode", "LLAMA_SPLIT_MODE_"),
    "rope_scaling_type": ("llama_rope_scaling_type", "LLAMA_ROPE_SCALING_TYPE_"),
}


def common_params(
    xllamacpp: Any,
    path: Path,
    args: Mapping[str, Any],
    trained_tokens: int,
    task: Task,
    projector: Path | None = None,
) -> Any:
    """CommonParams for one GGUF file. Raises EngineUnavailable for an argument it does not know.

    cache_ram_mib: llama.cpp would keep up to 8 GiB of old prompts. n_batch: what one step holds;
    in between an abort is noticed and other streams go on. Half of it is for long prompts
    (turns.py): of 128 tokens each costs a CPU no more than of 512; of 32, twice as much.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = min(LLAMACPP_CONTEXT_TOKENS, trained_tokens)
    params.n_parallel, params.kv_unified = 32, True
    params.n_batch = 256
    params.cache_ram_mib, params.warmup, params.verbosity = 0, False, 1
    params.ui, params.endpoint_slots = False, True
    params.endpoint_metrics = True
    params.sampling.generation_prompt = OPENED
    if task in POOLING:
        params.embedding, params.n_parallel = True, POOLING_SLOTS
    if task == "rerank":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    for name, value in args.items():
        if name != LONG_PROMPT_TOKENS:
            _set(xllamacpp, params, name, value)
    if "n_batch" not in args:  # every stream's next token goes before prompts
        params.n_batch = max(params.n_batch, 4 * params.n_parallel)
    if task in POOLING:  # an input is read in one step, which must be as long as the context
        params.n_ubatch = params.n_batch = params.n_ctx
    if projector is not None:
        params.mmproj.path, params.chat_template = str(projector), AS_IT_IS
        params.slot_save_path = str(projector.parent)  # else no slot forgets; nothing is saved
    return params


def long_prompts(args: Mapping[str, Any]) -> int | None:
    """None: by the number of streams. Raises EngineUnavailable."""
    value = args.get(LONG_PROMPT_TOKENS)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise EngineUnavailable(
            f"args.{LONG_PROMPT_TOKENS}: {value!r:.100} does not fit: a whole number from 1 on, of "
            "tokens in a step beside streams; half of n_batch is the most that has an effect."
        )
    return value


def check_goes_with_adapters(params: Any) -> None:
    """Raises EngineUnavailable where prompts are kept beside the slots, whoever's adapter has read
    them."""
    if params.cache_ram_mib:
        raise EngineUnavailable("args.cache_ram_mib goes with no adapters; leave it out.")


def add_adapters(xllamacpp: Any, params: Any, paths: Sequence[str]) -> None:
    """In the order of their numbers, each without effect until a request names it."""
    params.lora_init_without_apply = True
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in paths]


def listen_to(params: Any, folder: Path | None, key: str) -> None:
    """Let llama.cpp's own HTTP listener serve us alone: all calls go through it. With `folder`
    (ours alone, 0700) it is a Unix socket in there; without, loopback on a free port. Either way
    the key is asked."""
    params.api_keys = [key]
    params.hostnames = [str(folder / SOCKET) if folder else "127.0.0.1"]
    params.port = 0
    params.n_threads_http = max(params.n_threads_http, params.n_parallel + MORE_HTTP_THREADS)


def _set(xllamacpp: Any, params: Any, name: str, value: Any) -> None:
    owner, _, attribute = name.rpartition(".")
    if name in SET_BY_FJORD:
        raise EngineUnavailable(f"args.{name}: Fjord sets this one itself; leave it out.")
    if owner and not hasattr(params, owner):
        raise _unknown(params, name, owner)
    target = getattr(params, owner) if owner else params
    if attribute.startswith("_") or not hasattr(target, attribute):
        raise _unknown(target, name, attribute)
    try:
        setattr(target, attribute, _enum(xllamacpp, attribute, value))
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise EngineUnavailable(f"args.{name}: {value!r} does not fit: {error}") from error


def _enum(xllamacpp: Any, name: str, value: Any) -> Any:
    """`cache_type_k: q8_0` as llama.cpp's command line writes it."""
    if not isinstance(value, str) or name not in ENUMS:
        return value
    kind, prefix = ENUMS[name]
    members = getattr(xllamacpp, kind).__members__
    by_name = {n.removeprefix(prefix).lower(): m for n, m in members.items()}
    if value.lower() not in by_name:
        raise ValueError(f"one of {', '.join(sorted(by_name))} is expected")
    return by_name[value.lower()]


def _unknown(target: Any, name: str, attribute: str) -> EngineUnavailable:
    known = [LONG_PROMPT_TOKENS, *(n for n in dir(target) if not n.startswith("_"))]
    return EngineUnavailable(
        f"args.{name}: llama.cpp's CommonParams has no {attribute!r}"
        f"{did_you_mean(attribute, known)}"
    )
