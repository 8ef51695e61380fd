"""What a vLLM engine took of each of its devices, asked of its workers once it has started."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from engines.memory_in_use import MemoryInUse

log = logging.getLogger("fjord.vllm")

EXTENSION = f"{__name__}.WorkerMemory"
_METHOD = "fjord_memory"
_ANSWER_S = 20.0


class WorkerMemory:
    """Mixed into vLLM's worker class by its argument `worker_extension_cls`: runs in the worker."""

    model_runner: Any
    vllm_config: Any

    def fjord_memory(self) -> dict[str, int]:
        """Bytes, in the names of MemoryInUse's fields; those that cannot be told are left out: on
        a CPU the weights are packed anew, where no tensor shows them."""
        runner = self.model_runner
        found: dict[str, int | None] = {"kv_bytes": _stored_bytes(_tensors(runner.kv_caches))}
        cache = getattr(runner, "kv_cache_config", None)
        found["token_bytes"] = cache and _token_bytes(cache, found["kv_bytes"] or 0)
        weights = getattr(runner, "model_memory_usage", None)
        if weights:
            found |= {"weights_bytes": weights, "reserve_bytes": self._fjord_reserve(weights)}
        return {name: int(value) for name, value in found.items() if value is not None}

    def _fjord_reserve(self, weights_bytes: int) -> int | None:
        """Of a card, as vLLM's own profile run found it; None: it made none."""
        asked = getattr(self, "requested_memory", None)
        cache = getattr(self, "available_kv_cache_memory_bytes", None)
        if asked is None or cache is None:
            return None
        return max(0, int(asked) - int(cache) - int(weights_bytes))


def _token_bytes(cache: Any, kv_bytes: int) -> int | None:
    """Of a cache with one block size for all layers; of others no one figure is right."""
    if len(cache.kv_cache_groups) != 1 or not cache.num_blocks:
        return None
    tokens: int = cache.num_blocks * cache.kv_cache_groups[0].kv_cache_spec.block_size
    return kv_bytes // tokens


def _tensors(caches: Any) -> Iterator[Any]:
    """A layer's cache is a tensor, or several."""
    for each in caches:
        if isinstance(each, (list, tuple)):
            yield from _tensors(each)
        else:
            yield each


def _stored_bytes(tensors: Iterable[Any]) -> int:
    """What several share counts once."""
    stores = (each.untyped_storage() for each in tensors if hasattr(each, "untyped_storage"))
    return sum({store.data_ptr(): store.nbytes() for store in stores}.values())


async def memory_in_use(llm: Any) -> tuple[MemoryInUse, ...]:
    """Of each worker, in the order of its ranks; none where they cannot tell."""
    if not llm.vllm_config.parallel_config.worker_extension_cls:  # on other machines
        return ()
    try:
        async with asyncio.timeout(_ANSWER_S):
            rows = await llm.collective_rpc(_METHOD)
        return tuple(MemoryInUse(**row) for row in rows)
    except Exception as error:  # a figure less is no reason to end an engine that works
        log.warning("what an engine takes of its memory is not known: %s", type(error).__name__)
        return ()
