"""Stop strings looked for in the answer alone, or said with it: engines themselves look for them in
all that they generate, thoughts and calls included, and always cut before them. Knows no engine."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec.structs import replace

from engines.base import Delta, GenerateRequest, Sampling


def is_searched(request: GenerateRequest) -> bool:
    """Whether its stop strings are looked for here; else the engine does it as well. A call is no
    part of the answer: the engine would end within the line breaks of its form."""
    s = request.sampling
    if not s.stop:
        return False
    if s.includes_stop_string or s.tells_stop:
        return True
    return request.reasoning is not None or _may_call(request)


def _may_call(request: GenerateRequest) -> bool:
    return bool(request.tools) and request.tool_parser is not None and request.tool_choice != "none"


def without_stops(request: GenerateRequest) -> GenerateRequest:
    """As the engine gets it then. In pieces, so that it ends where a stop string was found."""
    sampling = replace(request.sampling, stop=(), includes_stop_string=False, tells_stop=False)
    return replace(request, sampling=sampling, stream=True)


async def stopped(
    deltas: AsyncGenerator[Delta, None], sampling: Sampling
) -> AsyncGenerator[Delta, None]:
    """The deltas up to the first stop string of each choice; `deltas` is closed, which ends its
    generation, as soon as all choices have ended."""
    searches = [StopSearch(sampling) for _ in range(sampling.n)]
    running = sampling.n
    async with aclosing(deltas):
        async for delta in deltas:
            found = searches[delta.index].feed(delta)
            if found is None:
                continue
            yield found
            running -= found.finish_reason is not None
            if not running:
                return


class StopSearch:
    """One choice's: feed it each delta once, in order. No more than the beginning of a stop string
    is held back."""

    def __init__(self, sampling: Sampling) -> None:
        self._stops = sampling.stop
        self._includes = sampling.includes_stop_string
        self._tells = sampling.tells_stop
        self._min_tokens = sampling.min_tokens
        self._held = ""
        self._has_called = self._is_stopped = False

    def feed(self, delta: Delta) -> Delta | None:
        """None after the last."""
        if self._is_stopped:
            return None
        self._has_called = self._has_called or bool(delta.tool_calls)
        self._min_tokens -= delta.token_count
        text, self._held = self._held + delta.text, ""
        if self._min_tokens < 0 and (found := self._found(text)) is not None:
            self._is_stopped = True
            at, stop = found
            reason = "tool_calls" if self._has_called else "stop"
            kept = text[: at + len(stop) if self._includes else at]
            told = stop if self._tells else None
            return replace(delta, text=kept, finish_reason=reason, stop=told)
        if delta.finish_reason is None and self._min_tokens < 0:
            cut = len(text) - self._partial(text)
            text, self._held = text[:cut], text[cut:]
        return replace(delta, text=text)

    def _found(self, text: str) -> tuple[int, str] | None:
        """Where in it the first stop string stands, and which: of two at one place the shorter."""
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        return min(found, key=lambda each: (each[0], len(each[1])), default=None)

    def _partial(self, text: str) -> int:
        """Length of the longest end of `text` that may become a stop string."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
