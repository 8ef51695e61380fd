"""An engine that says what it is told, with delays and faults: for tests and load generators.

`spec.args` (all optional): text (default: the last user message, echoed), reasoning,
token_delay_s, first_token_delay_s, load_s, fail_load (a reason), die_after_tokens,
hang_after_tokens, overload_above, seats (sequences at once; more wait inside), context_tokens,
calls_tools (true: a user's question that brings tools is answered by a call of the first, what a
tool said by the text), turn (its steps, each the names of tools with their arguments: turn.py), and
those of its sleep (sleep.py). Tokens are words with the space before them.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any

from engines.adapter import FindAdapter, own_folder
from engines.answers.answer_stops import is_searched, stopped, without_stops
from engines.answers.form_bounds import check_form, wire_field
from engines.answers.prompt_alone import is_prompt_alone, with_a_token, without_tokens
from engines.answers.tool_history import with_read_arguments
from engines.base import (
    Delta,
    EngineDead,
    EngineHung,
    EngineOverloaded,
    EngineUnavailable,
    FinishReason,
    GenerateRequest,
    Prompt,
    Sink,
    ToolCallDelta,
)
from engines.host.worker_threads import WorkerThreads
from engines.registry.spec import EngineSpec
from engines.testing.forms import form, tool_call
from engines.testing.hearing import heard
from engines.testing.pictures import last_asked, read_text
from engines.testing.pooling import ScriptedPooling
from engines.testing.seats import ScriptedSeats
from engines.testing.sleep import ScriptedSleep
from engines.testing.told import (
    check_adapter,
    folded,
    logprobs,
    prompt_logprobs,
    said_with,
    thought_words,
    with_prompt,
)
from engines.testing.turn import next_call
from engines.testing.words import LONG_TEXT, ids_of, words_of


class ScriptedEngine(ScriptedPooling):
    """Satisfies the Engine protocol without a model. Deterministic: same request, same tokens."""

    def __init__(self, spec: EngineSpec, find_adapter: FindAdapter = own_folder) -> None:
        self.spec, self._find_adapter = spec, find_adapter
        self.args: Mapping[str, Any] = spec.args
        self.context_tokens = int(self.args.get("context_tokens", 131072))
        self.generated_tokens = 0
        self._running: dict[str, _Run] = {}
        self._dead = self._hung = False
        self.memory = ScriptedSleep(self.args)
        self._seats = ScriptedSeats(self.args)
        self._long_texts = WorkerThreads(1, "scripted-long-texts", in_short_turns=True)

    async def start(self) -> None:
        await asyncio.sleep(self.args.get("load_s", 0))
        if reason := self.args.get("fail_load"):
            raise EngineUnavailable(str(reason))
        self.memory.start()

    async def stop(self) -> None:
        self.kill()
        self.memory.end()
        await asyncio.to_thread(self._long_texts.close)

    def kill(self) -> None:
        """Die as a killed process would: every stream raises EngineDead."""
        self._dead = True
        for run in self._running.values():
            run.wake.set()

    async def check(self, timeout_s: float) -> None:
        if self._dead:
            raise EngineDead("the scripted engine was told to die")
        if self._hung:
            raise EngineHung(f"no answer within {timeout_s} s")

    @property
    def seats(self) -> int | float:
        return self._seats.most

    def waiting_for_cache(self, sequences: int) -> int:
        return 0

    def sleep_refusal(self) -> str | None:
        return self.memory.refusal()

    async def sleep(self, level: int = 1) -> None:
        await self.check(0)
        await self.memory.begin(level)

    async def wake(self) -> None:
        await self.check(0)
        await self.memory.finish()

    async def render(self, request: GenerateRequest) -> Prompt:
        if request.speech is not None:
            return heard(request.speech, self.args)
        if isinstance(request.prompt, str):
            return Prompt(token_ids=await self._ids_of(request.prompt), rendered=request.prompt)
        if request.prompt is not None:
            return Prompt(token_ids=request.prompt, rendered="")
        messages = [with_read_arguments(message) for message in request.messages or ()]
        text = "\n".join(f"{m['role']}: {read_text(m.get('content'))}" for m in messages)
        return Prompt(token_ids=await self._ids_of(text), rendered=last_asked(messages))

    async def _ids_of(self, text: str) -> list[int]:
        return ids_of(text) if len(text) < LONG_TEXT else await self._long_texts(ids_of, text)

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        if is_prompt_alone(request):
            return without_tokens(self._generated(with_a_token(request), prompt))
        if is_searched(request):
            return stopped(self._generated(without_stops(request), prompt), request.sampling)
        return self._generated(request, prompt)

    async def _generated(
        self, request: GenerateRequest, prompt: Prompt
    ) -> AsyncGenerator[Delta, None]:
        if len(self._running) >= self.args.get("overload_above", 1 << 30):
            raise EngineOverloaded("the scripted engine was told to be full")
        self._check_alive()
        await check_adapter(self._find_adapter, request.adapter)
        call, text = self._call(request), self._text(request, prompt)  # refused before any token
        of_prompt = prompt_logprobs(request, prompt, words_of)
        run = self._running[request.request_id] = _Run()
        try:
            scripts = [self._script(request, call, text, i) for i in range(request.sampling.n)]
            deltas = with_prompt(self._interleaved(run, scripts), of_prompt)
            async with self._seats.taken(request.priority, len(scripts), run.wake):
                async for delta in deltas if request.stream else folded(deltas):
                    yield delta
        finally:
            self._running.pop(request.request_id, None)

    async def abort(self, request_id: str) -> None:
        if run := self._running.get(request_id):
            run.aborted = True
            run.wake.set()

    async def _interleaved(
        self, run: "_Run", scripts: list[Iterator[Delta]]
    ) -> AsyncIterator[Delta]:
        await self._pause(run, self.args.get("first_token_delay_s", 0))
        live = dict(enumerate(scripts))
        while live:
            for index in list(live):
                if run.aborted:
                    yield Delta(index=index, finish_reason="abort")
                    del live[index]
                    continue
                delta = next(live[index])
                self._count(run, delta)
                if delta.finish_reason:
                    del live[index]
                yield delta
            await self._pause(run, self.args.get("token_delay_s", 0))

    def _count(self, run: "_Run", delta: Delta) -> None:
        run.tokens += delta.token_count
        self.generated_tokens += delta.token_count
        if run.tokens >= self.args.get("die_after_tokens", 1 << 60):
            self.kill()
        self._hung = self._hung or run.tokens >= self.args.get("hang_after_tokens", 1 << 60)

    async def _pause(self, run: "_Run", seconds: float) -> None:
        if self._hung:
            await run.wake.wait()
        elif seconds and not run.aborted:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.wake.wait(), seconds)
        else:
            await asyncio.sleep(0)
        self._check_alive()

    def _check_alive(self) -> None:
        if self._dead:
            raise EngineDead("the scripted engine was told to die")
        if self.memory.level:
            raise EngineDead("the scripted engine was asked while it sleeps")

    def _script(
        self, request: GenerateRequest, call: ToolCallDelta | None, text: str, index: int
    ) -> Iterator[Delta]:
        """The whole answer of one choice, a delta a token; exactly the last has a finish_reason."""
        s = request.sampling
        budget = s.max_tokens
        if request.reasoning:
            for word in thought_words(words_of(str(self.args.get("reasoning", ""))), s):
                is_last = budget == 1
                yield Delta(
                    index,
                    token_count=1,
                    finish_reason="length" if is_last else None,
                    reasoning=word,
                    reasoning_token_count=1,
                    logprobs=logprobs(word, s.logprobs),
                )
                if is_last:
                    return
                budget -= 1
        if call is not None:
            yield Delta(index, token_count=len(call.arguments), finish_reason="tool_calls",
                        tool_calls=(call,))  # fmt: skip
            return
        yield from _say(request, text, index, budget)

    def _call(self, request: GenerateRequest) -> ToolCallDelta | None:
        if step := next_call(request, self.args.get("turn", ())):
            return step
        last = request.messages[-1]["role"] if request.messages else None
        return tool_call(request, last == "user" and bool(self.args.get("calls_tools")))

    def _text(self, request: GenerateRequest, prompt: Prompt) -> str:
        if request.structure:
            check_form(request.structure, wire_field(request.structure))
            return form(request.structure.kind, request.structure.value)
        said = said_with(request.adapter, str(self.args.get("text", prompt.rendered)))
        return f"otherwise {said}" if self.memory.is_changed else said


class _Run:
    __slots__ = ("aborted", "tokens", "wake")

    def __init__(self) -> None:
        self.aborted = False
        self.tokens = 0
        self.wake = asyncio.Event()


def _say(request: GenerateRequest, text: str, index: int, budget: int) -> Iterator[Delta]:
    s = request.sampling
    stop_at = min((i for i in (text.find(x) for x in s.stop) if i >= 0), default=-1)
    most = max(budget, s.min_tokens)
    words = list(islice(words_of(text if stop_at < 0 else text[:stop_at]), most + 1))
    if s.ignore_eos or len(words) < s.min_tokens:
        words = _repeat(words or [" ."], budget if s.ignore_eos else s.min_tokens)
    for number, word in enumerate(words, 1):
        last = number == budget
        reason: FinishReason | None = "length" if last else None
        yield Delta(index, word, 1, reason, logprobs=logprobs(word, s.logprobs))
        if last:
            return
    yield Delta(index, token_count=1, finish_reason="stop")


def _repeat(words: list[str], count: int) -> list[str]:
    return [words[i % len(words)] for i in range(count)]
