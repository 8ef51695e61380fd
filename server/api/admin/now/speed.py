"""How fast it goes: tokens a second, times to the first token, of what is counted anyway."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from server.http.recent_requests import RecentRequest
from server.requests.live import LiveRun

OVER_S: Final = 5.0
"""What "now" is of tokens."""
MINUTE_S: Final = 60.0
_MOST_LOOKS: Final = 64


class TokenRates:
    """Tokens a second by alias, between looks. Nothing is kept but the counts of the last ones."""

    def __init__(self, generated: Callable[[], Mapping[str, int]]) -> None:
        """`generated`: alias -> tokens since the start."""
        self._generated = generated
        self._looks: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=_MOST_LOOKS)

    def look(self, now: float) -> Mapping[str, float] | None:
        """Over the last OVER_S; None: the look before is too long ago, or there is none."""
        counts = self._generated()
        while self._looks and now - self._looks[0][0] > 2 * OVER_S:
            self._looks.popleft()
        before = self._before(now)
        self._looks.append((now, counts))
        if before is None:
            return None
        at, then = before
        return {alias: (n - then.get(alias, 0)) / (now - at) for alias, n in counts.items()}

    def _before(self, now: float) -> tuple[float, Mapping[str, int]] | None:
        """The newest look that is OVER_S ago, else the oldest."""
        found = None
        for look in self._looks:
            if found is None or now - look[0] >= OVER_S:
                found = look
        return found if found is not None and now > found[0] else None


@dataclass(slots=True)
class Traffic:
    """Of one alias."""

    running: int = 0
    waits_since: list[float] = field(default_factory=list)
    ttfts_s: list[float] = field(default_factory=list)
    """Of first tokens within the last minute."""
    ended: int = 0
    failed: int = 0

    def add(self, run: LiveRun, now: float) -> None:
        if run.waits_since is not None:
            self.waits_since.append(run.waits_since)
            return
        self.running += 1
        if run.first_token_at is not None and now - run.first_token_at <= MINUTE_S:
            self.ttfts_s.append(run.ttft_s)

    def add_ended(self, request: RecentRequest, clock: float) -> None:
        """`clock`: Unix seconds."""
        self.ended += 1
        self.failed += request.status >= 500
        work = request.work
        if work is None or work.ttft_s is None:
            return
        first_at = request.ended_at - request.duration_s + work.ttft_s
        if clock - first_at <= MINUTE_S:
            self.ttfts_s.append(work.ttft_s)


def traffic_of(
    live: Iterable[tuple[str, LiveRun]],
    ended: Iterable[RecentRequest],
    now: float,
    clock: float,
) -> Mapping[str, Traffic]:
    """By alias; `ended` within the last minute. `now`: time.monotonic(), `clock`: Unix seconds."""
    found: defaultdict[str, Traffic] = defaultdict(Traffic)
    for alias, run in live:
        found[alias].add(run, now)
    for request in ended:
        found[request.alias].add_ended(request, clock)
    return found


def percentile_ms(times_s: Sequence[float], part: float) -> float | None:
    """The nearest rank's; None: there are none."""
    if not times_s:
        return None
    ordered = sorted(times_s)
    rank = min(len(ordered) - 1, int(part * len(ordered)))
    return round(ordered[rank] * 1000, 1)
