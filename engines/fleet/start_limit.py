"""How long one engine's start may take, its weights being on this machine."""

from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLimit:
    """A start beyond it hangs (a NCCL ring that never closes, say), and would keep all others from
    starting. 20 s a GiB is a slow disk's 50 MiB/s."""

    base_s: float = 300.0
    per_gib_s: float = 20.0

    @classmethod
    def of(cls, seconds: float | None) -> "StartLimit":
        """`seconds` for weights of every size; None: the default."""
        return cls() if seconds is None else cls(base_s=seconds, per_gib_s=0.0)

    def seconds(self, weights_bytes: int) -> float:
        return self.base_s + self.per_gib_s * weights_bytes / _GIB
