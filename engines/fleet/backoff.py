"""How long an engine that failed is left alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to leave an engine alone after its n-th failure in a row (seconds)."""

    first_s: float = 1.0
    factor: float = 2.0
    longest_s: float = 120.0
    forgiven_after_s: float = 60.0
    """An engine that served for so long starts counting its failures afresh."""

    def delay_s(self, failures: int) -> float:
        """0 before the first failure; the exponent is bounded, so that it never overflows."""
        if failures <= 0:
            return 0.0
        return min(self.longest_s, self.first_s * self.factor ** min(failures - 1, 64))
