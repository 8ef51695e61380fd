"""What of an engine's own arguments decides on bytes, with the engines' defaults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.planning.cards import GIB
from engines.planning.config import dtype_of
from engines.planning.facts import WIDTHS, ModelFacts
from engines.planning.lora import LoraRoom, lora_room
from engines.registry.spec import EngineSpec
from engines.registry.vllm_names import by_keyword

_KEPT_ELSEWHERE = ("cpu_offload_gb", "data_parallel_size_local", "data_parallel_address")
_PLACED = (
    *("device_ids", "nnodes", "data_parallel_size", "distributed_executor_backend"),
    *(*_KEPT_ELSEWHERE, "data_parallel_backend", "kv_transfer_config"),
)
_BACKENDS = ("distributed_executor_backend", "data_parallel_backend")
UTILISATION = 0.92
"""vLLM's gpu_memory_utilization where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmArguments:
    """vLLM's, as keywords of AsyncEngineArgs name them."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False
    context_tokens: int | None = None
    """None: what the model was trained for."""
    utilisation: float | None = None
    kv_bytes: int | None = None
    kv_dtype: str = "auto"
    dtype: str = "auto"
    quantization: str | None = None
    is_eager: bool = False
    sequences: int | None = None
    batched_tokens: int | None = None
    images: int = 0
    """The most pictures of a request, by the registry."""
    lora: LoraRoom | None = None
    nodes: int = 1
    """Machines that share one engine."""
    is_elsewhere: bool = False
    """Where its cards are, and how many it uses here, its arguments do not say: Ray, weights kept
    in the machine's memory."""

    @property
    def world(self) -> int:
        """Cards of one engine."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel

    @property
    def cards_here(self) -> int:
        """Of those, on each machine."""
        return -(-self.world // self.nodes)

    def context_of(self, facts: ModelFacts) -> int:
        return self.context_tokens or facts.context_tokens

    def kv_width(self, facts: ModelFacts) -> float:
        """Bytes of an element of the cache."""
        if self.kv_dtype != "auto":
            return 1 if "8" in self.kv_dtype else 0.5 if "4" in self.kv_dtype else 2
        return WIDTHS[facts.dtype if self.dtype == "auto" else self.dtype]


def vllm_arguments(spec: EngineSpec) -> VllmArguments:
    """What is no plain value of its kind counts as not given: the engine itself will refuse it."""
    given = by_keyword(spec.args)
    return VllmArguments(
        tensor_parallel=_count(given, "tensor_parallel_size") or 1,
        pipeline_parallel=_count(given, "pipeline_parallel_size") or 1,
        data_parallel=_count(given, "data_parallel_size") or 1,
        expert_parallel=given.get("enable_expert_parallel") is True,
        context_tokens=_count(given, "max_model_len"),
        utilisation=_fraction(given.get("gpu_memory_utilization")),
        kv_bytes=_count(given, "kv_cache_memory_bytes"),
        kv_dtype=_word(given, "kv_cache_dtype") or "auto",
        dtype=dtype_of(given.get("dtype")) or "auto",
        quantization=_word(given, "quantization"),
        is_eager=given.get("enforce_eager") is True,
        sequences=_count(given, "max_num_seqs"),
        batched_tokens=_count(given, "max_num_batched_tokens"),
        images=spec.images,
        lora=lora_room(spec.args),
        nodes=_count(given, "nnodes") or 1,
        is_elsewhere=any(given.get(name) for name in _KEPT_ELSEWHERE)
        or any(given.get(name) == "ray" for name in _BACKENDS),
    )


def is_bound_here(spec: EngineSpec) -> bool:
    """Whether it can stand on this machine alone: another library's, or its arguments say where."""
    given = by_keyword(spec.args)
    return spec.kind != "vllm" or any(given.get(name) not in (None, 1) for name in _PLACED)


def default_batch(card_bytes: int, card_name: str) -> tuple[int, int]:
    """vLLM's own server's max_num_batched_tokens and max_num_seqs, by card."""
    if card_bytes >= 160 * GIB:
        return 16384, 1024
    if card_bytes >= 70 * GIB and "A100" not in card_name.upper():
        return 8192, 1024
    return 2048, 256


def _count(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    return value if isinstance(value, int) and value is not True and value > 0 else None


def _fraction(value: Any) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1
    return float(value) if is_one else None


def _word(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) else None
