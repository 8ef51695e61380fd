"""Embeds vLLM's AsyncLLM: an Engine over one model, on CUDA or the CPU, one code path."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from engines.adapter import FindAdapter, own_folder
from engines.answers.answer_stops import is_searched, stopped, without_stops
from engines.answers.prompt_alone import is_prompt_alone, with_a_token, without_tokens
from engines.base import (
    Delta,
    EngineDead,
    EngineHung,
    EngineUnavailable,
    GenerateRequest,
    Prompt,
    Sink,
)
from engines.host.processes import ProcessTree
from engines.registry.spec import POOLING, EngineSpec
from engines.vllm.aborts import Aborts
from engines.vllm.adapters import LoadedAdapters
from engines.vllm.arguments import RENDERERS, placed
from engines.vllm.collected_stream import CollectedStream
from engines.vllm.ending import empty, shut_down
from engines.vllm.errors import engine_error, raise_as, rendering_error, submission_error
from engines.vllm.fastpath.fast_path import FastPath, may_go_fast
from engines.vllm.fastpath.gathered import tell_first
from engines.vllm.fastpath.output_router import FastStream
from engines.vllm.fastpath.proof import proven_fast_path
from engines.vllm.fastpath.switch import is_fast_path_on
from engines.vllm.figures import EngineFigures
from engines.vllm.form_trial import FormTrials, form_trials
from engines.vllm.json_grammar import JsonGrammars
from engines.vllm.pictures import has_pictures
from engines.vllm.pooling import PoolingCalls, VllmPooling
from engines.vllm.prefix_salt import PrefixSalt
from engines.vllm.render import Renderer
from engines.vllm.render_threads import RenderThreads
from engines.vllm.scheduler_stats import SchedulerStatsReader
from engines.vllm.short_prompts import ShortPrompts
from engines.vllm.silence import Pace, is_answered, patience_s
from engines.vllm.sleeping import fall_asleep, sleep_refusal, wake_up
from engines.vllm.sockets import close_sockets
from engines.vllm.speech import FIELD, HEARS, SpeechRenderer, heard
from engines.vllm.start import load
from engines.vllm.submission import submission, submit_publicly
from engines.vllm.vocabulary import Vocabulary
from engines.vllm.worker_memory import memory_in_use

Load: TypeAlias = Callable[[EngineSpec, str, ProcessTree], Awaitable[tuple[Any, Renderer]]]


class VllmEngine(EngineFigures, PoolingCalls):
    """Satisfies engines.base.Engine. `path` is a local folder, or a hub id; `load` starts vLLM."""

    def __init__(
        self,
        spec: EngineSpec,
        path: str,
        load: Load = load,
        find_adapter: FindAdapter = own_folder,
    ) -> None:
        self.context_tokens = 0
        self._spec, self._path, self._load = spec, path, load
        self._processes = ProcessTree()
        self._llm: Any = None
        self._threads = RenderThreads(RENDERERS)
        self._prefix_salt: PrefixSalt | None = None
        self._fast_path: FastPath | None = None
        self._read_tokens = 0
        self._vocabulary: Vocabulary | None = None
        self._renderer: Renderer | None = None
        self._short_prompts: ShortPrompts | None = None
        self._speech: SpeechRenderer | None = None
        self._grammars = JsonGrammars()
        self._adapters = LoadedAdapters(spec, Path(path), find_adapter)
        self._trials: FormTrials | None = None
        self._reasoning_parser: str | None = spec.args.get("reasoning_parser")
        self._is_stopped, self._sleep_level = False, 0
        self._running: set[Any] = set()
        self._pace = Pace()
        self._aborts = Aborts()
        self._scheduler_stats = SchedulerStatsReader()

    @property
    def pids(self) -> list[int]:
        """Every process of the engine that is alive."""
        return self._processes.pids

    @property
    def generated_tokens(self) -> int:
        """Of all requests so far: the engine's own ids."""
        return self._read_tokens + (self._fast_path.tokens if self._fast_path else 0)

    def assign(self, cards: tuple[int, ...], part: float) -> None:
        """Which cards it stands on, and what part of each it may take, before `start`."""
        self._spec = placed(self._spec, cards, part)

    async def start(self) -> None:
        try:
            llm, renderer = await self._load(self._spec, self._path, self._processes)
            self._llm, self._renderer = llm, renderer
            if not self._is_stopped:
                await self._begin(llm, renderer)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._processes.end))
            raise
        if self._is_stopped:
            await self.stop()
            raise EngineUnavailable("The engine was stopped while it started.")

    async def _begin(self, llm: Any, renderer: Renderer) -> None:
        self.context_tokens = llm.model_config.max_model_len
        self._vocabulary = Vocabulary(llm.tokenizer)
        self._short_prompts = ShortPrompts(renderer)
        self._prefix_salt = PrefixSalt(renderer, self._threads.ordinary)
        self._trials = form_trials(llm, self._spec)
        self._scheduler_stats.attach(llm)
        self._memory = await memory_in_use(llm)
        self._speech = (
            SpeechRenderer(llm, self._threads.ordinary, self._running)
            if self._spec.task == HEARS
            else None
        )
        if self._spec.task in POOLING:
            threads_for = self._threads.of_length
            self._pooling = VllmPooling(
                self._spec, llm, renderer, threads_for, self._raise, self._running
            )
            await self._pooling.start()
        elif self._spec.task == "generate" and is_fast_path_on(self._spec.args):
            self._fast_path = await proven_fast_path(llm, self._vocabulary, renderer.token_ids)

    async def stop(self) -> None:
        self._is_stopped = True
        llm, self._llm = self._llm, None
        for collector in self._running:
            collector.put(EngineDead("The engine was stopped."))
        if llm is not None and llm.output_handler is not None:
            llm.output_handler.cancel()  # else it logs our own stop as the engine's death
        client = None if llm is None else llm.engine_core
        await asyncio.shield(asyncio.to_thread(self._end, llm))
        if client is not None:
            close_sockets(client)

    def _end(self, llm: Any) -> None:
        shut_down(llm, self._processes)
        if self._trials is not None:
            self._trials.close()
        self._threads.close()
        empty(llm)

    async def check(self, timeout_s: float) -> None:
        """Where requests wait for tokens and none come, `timeout_s` is as long as a step can
        take."""
        llm = self._alive()
        config = llm.vllm_config.scheduler_config
        limit_s = patience_s(self._pace.work(config.max_num_batched_tokens), timeout_s)
        began = time.monotonic()
        # Through the engine's busy loop: check_health() calls a frozen process healthy.
        asked = asyncio.ensure_future(llm.is_sleeping())
        try:
            if not await is_answered(asked, lambda: self.generated_tokens, limit_s, timeout_s):
                raise EngineHung(f"The engine did not answer within {limit_s:g} s.")
            asked.result()
        except EngineHung:
            raise
        except Exception as error:
            raise EngineDead(f"The engine's process is gone: {error}") from error
        finally:
            asked.cancel()
        self._pace.answered(time.monotonic() - began)

    def sleep_refusal(self) -> str | None:
        return sleep_refusal(self._llm)

    async def sleep(self, level: int = 1) -> None:
        """Give the card's memory back once running requests have ended. Level 1 keeps the weights
        in host memory, 2 reads them again at `wake`. Raises EngineUnavailable."""
        await fall_asleep(self._alive(), level, lambda: not self._running)
        self._sleep_level = level

    async def wake(self) -> None:
        """Take the card's memory again; returns when it can generate. Awake: does nothing."""
        await wake_up(self._alive(), self._sleep_level)
        self._adapters.forget()
        self._sleep_level = 0  # after a wake that failed the next one does it all again

    def _alive(self) -> Any:
        if self._llm is None or self._llm.errored:
            raise EngineDead("The engine is not running." if self._llm is None else "It died.")
        return self._llm

    async def render(self, request: GenerateRequest) -> Prompt:
        self._alive()
        renderer = self._renderer
        assert renderer is not None
        try:
            if request.speech is not None:
                return await heard(self._speech, request)
            rendered = None if self._short_prompts is None else self._short_prompts.of(request)
            if rendered is None:
                threads = self._threads.of_request(request)
                rendered = await threads(renderer.prompt, request)
        except Exception as error:
            self._raise(rendering_error(error, _brought_by(request)), error)
        if self._prefix_salt is not None:
            rendered = await self._prefix_salt.on(rendered, request)
        return Prompt(token_ids=rendered["prompt_token_ids"], rendered=rendered)

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        if is_prompt_alone(request):
            return without_tokens(self._generated(with_a_token(request), prompt, None))
        if is_searched(request):
            return stopped(self._generated(without_stops(request), prompt, None), request.sampling)
        return self._generated(request, prompt, sink)

    async def _generated(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None
    ) -> AsyncGenerator[Delta, None]:
        llm = self._alive()
        if self._vocabulary is not None:
            request = self._vocabulary.request_as_prompted(request, prompt)
        try:
            stream = await self._submit(llm, request, prompt, sink)
        except Exception as error:
            self._raise(submission_error(error, llm, request, prompt, self.context_tokens), error)
        name = request.request_id
        self._running.add(stream)
        self._pace.submitted(name, prompt.token_count)
        self._aborts.begun(name)
        tell_first(stream, self._pace, name)
        try:
            while not stream.is_finished:
                for delta in await stream.read():
                    self._aborts.check(name, delta)
                    self._pace.has_token(name, delta.cached_tokens)
                    self._read_tokens += delta.token_count - stream.counted
                    yield delta
        except Exception as error:
            self._raise(engine_error(error, llm), error)
        finally:
            self._running.discard(stream)
            self._pace.ended(name)
            self._aborts.ended(name)
            if self._fast_path is not None:
                self._fast_path.end(stream.request_id)
            if not stream.is_finished and not self._is_stopped:
                with contextlib.suppress(Exception):
                    await llm.abort(stream.request_id, internal=True)

    def _raise(self, outcome: Exception, error: Exception) -> NoReturn:
        """`error` as what it means for the request, or that the engine was stopped meanwhile."""
        if self._is_stopped:
            raise EngineDead("The engine was stopped.") from error
        raise_as(outcome, error)

    async def _submit(
        self, llm: Any, request: GenerateRequest, prompt: Prompt, sink: Sink | None
    ) -> FastStream | CollectedStream:
        assert self._vocabulary is not None
        assert self._renderer is not None
        adapter = await self._adapters.request(llm, request.adapter)
        request = self._renderer.tools.with_parser(request)
        submitted = await submission(
            request,
            prompt,
            llm.tokenizer,
            self._vocabulary,
            self._grammars,
            self._trials,
            self._reasoning_parser,
            self._renderer.tools.guides(request),
            llm.vllm_config,
            adapter,
        )
        goes_fast = may_go_fast(request, has_sink=sink is not None)
        if self._fast_path is not None and goes_fast and not has_pictures(prompt.rendered):
            stream = await self._fast_path.submit(submitted, sink)
            if stream is not None:
                return stream
        return await submit_publicly(llm, submitted)

    async def abort(self, request_id: str) -> None:
        self._aborts.asked(request_id)
        if self._llm is not None and not self._llm.errored:
            await self._llm.abort(request_id)


def _brought_by(request: GenerateRequest) -> str:
    """The field that the prompt is of."""
    if request.speech is not None:
        return FIELD
    return "prompt" if request.messages is None else "messages"
