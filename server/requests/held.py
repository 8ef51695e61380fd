"""Answers that were held to a form, looked at when they end: a broken one is told, never passed off
as finished."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from engines.answers.form_check import HeldAnswer, TooMuch, form_name, is_held
from engines.base import Delta, Engine, GenerateRequest, Prompt, Sink
from engines.host.interpreter_turns import in_short_turns
from server.errors import FormBroken

log = logging.getLogger("fjord.answer")

_SMALL_CHARACTERS = 4096
_SMALL_STEPS = 2_000
"""An answer of so many characters that needs no more steps is looked at on the event loop: 4 ms."""


def generate(
    engine: Engine, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
) -> AsyncGenerator[Delta, None]:
    """`engine.generate`; where an answer ends without the form it was held to, its last
    delta has no finish_reason, and FormBroken is raised when all choices have ended."""
    if not is_held(request):
        return engine.generate(request, prompt, sink)
    return _held(engine, request, prompt, sink)


async def _held(
    engine: Engine, request: GenerateRequest, prompt: Prompt, sink: Sink | None
) -> AsyncGenerator[Delta, None]:
    answers = [HeldAnswer(request) for _ in range(request.sampling.n)]
    is_broken = False
    listening = None if sink is None else _Listening(sink, answers)
    async with aclosing(engine.generate(request, prompt, listening)) as deltas:
        async for delta in deltas:
            answers[delta.index].feed(delta)
            if delta.finish_reason and not await _is_kept(answers[delta.index], delta, request):
                is_broken, delta = True, replace(delta, finish_reason=None)
            yield delta
    if is_broken:
        raise FormBroken(form_name(request))


class _Listening:
    """A Sink that hears what it passes on."""

    def __init__(self, sink: Sink, answers: Sequence[HeldAnswer]) -> None:
        self.is_ready = sink.is_ready
        self._take = sink.take
        self._answers = answers

    def take(self, delta: Delta) -> None:
        self._answers[delta.index].feed(delta)
        self._take(delta)


async def _is_kept(answer: HeldAnswer, last: Delta, request: GenerateRequest) -> bool:
    if answer.characters <= _SMALL_CHARACTERS:
        try:
            return answer.is_kept(last.finish_reason, _SMALL_STEPS)
        except TooMuch:
            pass
    try:
        return await in_short_turns(answer.is_kept, last.finish_reason)
    except TooMuch:
        log.warning("request %s: its answer is too much to be checked", request.request_id)
        return True
