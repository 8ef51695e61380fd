"""Where an engine stands in the cluster."""

from dataclasses import dataclass

from engines.vllm.ray.wire import Seat


@dataclass(frozen=True, slots=True, kw_only=True)
class RayPlace:
    """`cluster`: as ray.init takes it; `front`: this machine's address as the nodes reach it."""

    seats: tuple[Seat, ...]
    front: str
    cluster: str | None = None
    is_cpu: bool = False
    """Whether vLLM is its CPU build there."""
