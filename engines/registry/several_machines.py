"""`nnodes`: vLLM's engine on several machines, and what of it an entry may say."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from engines.registry.vllm_names import by_keyword

MOST_MACHINES: Final = 64
SERVERS_OWN: Final = frozenset({"node_rank", "master_addr", "master_port", "headless"})
_SIZES: Final = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "prefill_context_parallel_size",
)
_HOW: Final = "nnodes alone says on how many machines"


def machines(args: Mapping[str, Any]) -> int:
    """On how many an engine runs; 1 where its arguments do not say, or wrongly."""
    count = by_keyword(args).get("nnodes", 1)
    return count if _is_count(count) and count <= MOST_MACHINES else 1


def machine_errors(args: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong)."""
    given = by_keyword(args)
    for name in given:
        if name in SERVERS_OWN:
            yield name, f"the server itself decides it; {_HOW}"
    if "nnodes" not in given:
        return
    count = given["nnodes"]
    if not _is_count(count) or count > MOST_MACHINES:
        yield "nnodes", f"right would be a number of machines, 1 to {MOST_MACHINES}"
    elif count > 1:
        yield from _wrong_on_several(given, count)


def _wrong_on_several(given: Mapping[str, Any], count: int) -> Iterator[tuple[str, str]]:
    world = 1
    for name in _SIZES:
        size = given.get(name, 1)
        world *= size if _is_count(size) else 1
    if world % count:
        yield (
            "nnodes",
            f"{world} cards (tensor_parallel_size times pipeline_parallel_size) do not divide "
            f"over {count} machines",
        )
    if given.get("data_parallel_size", 1) != 1:
        yield "data_parallel_size", "with nnodes it would be 1; several engines are `replicas`"
    if given.get("distributed_executor_backend") not in (None, "mp"):
        yield "distributed_executor_backend", "with nnodes it would be mp"
    if given.get("enable_lora"):
        yield "enable_lora", "adapters are not served on several machines"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
