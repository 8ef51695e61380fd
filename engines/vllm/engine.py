"""Embeds vLLM's AsyncLLM: an Engine over one model, on CUDA or the CPU, one code path."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from engines.base import (
    Delta,
    Embedding,
    EngineDead,
    EngineError,
    EngineHung,
    EngineUnavailable,
    GenerateRequest,
    InvalidRequest,
    Prompt,
    Sink,
)
from engines.host.processes import ProcessTree
from engines.host.worker_threads import WorkerThreads
from engines.registry.spec import EngineSpec
from engines.vllm.deltas import Choices
from engines.vllm.embeddings import all_or_none, embedding
from engines.vllm.errors import refused
from engines.vllm.fastpath.output_router import OutputRouter, can_route
from engines.vllm.fastpath.stream import CollectedStream, DirectStream
from engines.vllm.render import Renderer, tokens_prompt
from engines.vllm.sampling import sampling_params
from engines.vllm.sockets import close_sockets
from engines.vllm.start import RENDERERS, load
from engines.vllm.structured import may_hold_control_characters, structured_outputs
from engines.vllm.tools import ToolReading, is_auto
from engines.vllm.vocabulary import Vocabulary

_SHUTDOWN_S = 3.5


class VllmEngine:
    """Satisfies engines.base.Engine. `path` is a local folder, or a hub id."""

    def __init__(self, spec: EngineSpec, path: str) -> None:
        self.context_tokens = 0
        self._spec = spec
        self._path = path
        self._processes = ProcessTree()
        self._llm: Any = None
        self._aside = WorkerThreads(RENDERERS, "vllm-aside")
        self._router: OutputRouter | None = None
        self._read_tokens = 0
        self._vocabulary: Vocabulary | None = None
        self._renderer: Renderer | None = None
        self._knows_thinking = "reasoning_parser" in spec.args
        self._is_stopped = False
        self._sleep_level = 0
        self._running: set[Any] = set()

    @property
    def pids(self) -> list[int]:
        """Every process of the engine that is alive."""
        return self._processes.pids

    @property
    def generated_tokens(self) -> int:
        """Of all requests so far: the engine's own ids."""
        return self._read_tokens + (self._router.tokens if self._router else 0)

    async def start(self) -> None:
        try:
            llm, self._renderer = await load(self._spec, self._path, self._processes)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._processes.end))
            raise
        self._llm = llm
        if self._is_stopped:
            await self.stop()
            raise EngineUnavailable("The engine was stopped while it started.")
        self.context_tokens = llm.model_config.max_model_len
        self._vocabulary = Vocabulary(llm.tokenizer)
        if can_route(llm):
            self._router = OutputRouter(llm, self._vocabulary)

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
        """Ask first: a worker that is asked frees shared memory. A frozen one never answers, and
        vLLM's own shutdown would wait twice for it."""
        if llm is not None:
            asking = threading.Thread(target=llm.shutdown, daemon=True)
            asking.start()
            asking.join(_SHUTDOWN_S)
        self._processes.end()
        self._aside.close()
        if llm is not None:
            # The frozen garbage collector never frees its cycles: leave it empty, and keep its
            # __del__ from a second shutdown.
            llm.__dict__.clear()
            llm.shutdown = _nothing

    async def check(self, timeout_s: float) -> None:
        llm = self._alive()
        try:
            # Goes through the engine's busy loop; check_health() does not, and calls a frozen
            # process healthy.
            await asyncio.wait_for(llm.is_sleeping(), timeout_s)
        except TimeoutError:
            raise EngineHung(f"The engine did not answer within {timeout_s:g} s.") from None
        except Exception as error:
            raise EngineDead(f"The engine's process is gone: {error}") from error

    async def sleep(self, level: int = 1) -> None:
        """Give the card's memory back and keep the process; running requests are aborted. Level 1
        keeps the weights in host memory, 2 reads them again at `wake`. Raises EngineUnavailable."""
        llm = self._alive()
        if not llm.model_config.enable_sleep_mode:
            raise EngineUnavailable(
                "This engine cannot sleep: it was started without enable_sleep_mode; right would "
                "be `enable_sleep_mode: true` among its engine arguments, on a CUDA device."
            )
        await llm.sleep(level=level)
        self._sleep_level = level

    async def wake(self) -> None:
        """Take the card's memory again; returns when it can generate. Awake: does nothing."""
        llm, level, self._sleep_level = self._alive(), self._sleep_level, 0
        if level == 1:
            await llm.wake_up()
        elif level == 2:
            await llm.wake_up(["weights"])
            await llm.collective_rpc("reload_weights")
            await llm.wake_up(["kv_cache"])
            await llm.reset_prefix_cache()

    def _alive(self) -> Any:
        if self._llm is None or self._llm.errored:
            raise EngineDead("The engine is not running." if self._llm is None else "It died.")
        return self._llm

    async def render(self, request: GenerateRequest) -> Prompt:
        self._alive()
        renderer = self._renderer
        assert renderer is not None
        param = "prompt" if request.messages is None else "messages"
        try:
            if request.messages is not None:
                rendered = await self._aside(renderer.chat, request)
            else:
                [rendered] = await self._aside(renderer.prompts, [request.prompt or ""])
        except EngineError:
            raise
        except Exception as error:  # the template's, jinja's or the tokenizer's own kind
            if self._is_stopped:
                raise EngineDead("The engine was stopped.") from error
            raise InvalidRequest(f"The prompt cannot be rendered: {error}", param) from error
        return Prompt(token_ids=rendered["prompt_token_ids"], rendered=rendered)

    async def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        llm = self._alive()
        request = self._as_prompted(request, prompt)
        try:
            reader = await self._submit(llm, request, prompt, sink)
        except Exception as error:
            raise refused(error, request, prompt, self.context_tokens) from error
        self._running.add(reader)
        try:
            while not reader.is_finished:
                for delta in await reader.read():
                    self._read_tokens += delta.token_count
                    yield delta
        except EngineError:
            raise
        except Exception as error:
            raise EngineDead(f"The engine died while it generated: {error}") from error
        finally:
            self._running.discard(reader)
            if self._router is not None:
                self._router.end(reader.request_id)
            if not reader.is_finished and not self._is_stopped:
                with contextlib.suppress(Exception):
                    await llm.abort(reader.request_id, internal=True)

    def _as_prompted(self, request: GenerateRequest, prompt: Prompt) -> GenerateRequest:
        thinking, vocabulary = request.reasoning, self._vocabulary
        if thinking is None or vocabulary is None:
            return request
        return replace(request, reasoning=vocabulary.as_prompted(thinking, prompt.token_ids))

    async def _submit(
        self, llm: Any, request: GenerateRequest, prompt: Prompt, sink: Sink | None
    ) -> DirectStream | CollectedStream:
        vocabulary, reasoning = self._vocabulary, request.reasoning
        assert vocabulary is not None
        reading = ToolReading(request, prompt, llm.tokenizer) if is_auto(request) else None
        is_answer = reasoning is None or vocabulary.is_closed(reasoning, prompt.token_ids)
        # vLLM's parser waits for an end mark: an answer without thinking would have no form.
        is_open = not is_answer and reasoning is not None and reasoning.opened_by == "template"
        is_theirs = self._knows_thinking and is_open
        structure = structured_outputs(request, is_answer or is_theirs, vocabulary)
        shows_special = (reasoning is not None and vocabulary.hides(reasoning)) or (
            reading is not None and not reading.skips_special_tokens
        )
        forbidden: Sequence[int] = ()
        if structure is not None and may_hold_control_characters(structure):
            forbidden = await asyncio.to_thread(vocabulary.control_ids)
        params = partial(sampling_params, request, structure, not shows_special, forbidden)
        choices = Choices(request, vocabulary, reading)
        ended = not is_theirs if structure is not None and self._knows_thinking else None
        if self._router is not None and sink is not None and may_go_short(request):
            made = await self._router.requests.make(
                request,
                prompt,
                params,
                is_plain=structure is None,
                skips_special_tokens=not shows_special,
            )
            made.reasoning_ended = ended
            lane = DirectStream(made.request_id, choices, sink)
            await self._router.add(made, lane)
            return lane
        # Raw tokens are processed in a thread: compiling a large schema takes a second.
        rendered = prompt.rendered if structure is None else tokens_prompt(prompt.token_ids)
        collector = await llm.add_request(
            request.request_id,
            rendered,
            params(),
            priority=request.priority,
            **({} if ended is None else {"reasoning_ended": ended}),
        )
        return CollectedStream(collector, choices)

    async def abort(self, request_id: str) -> None:
        if self._llm is not None and not self._llm.errored:
            await self._llm.abort(request_id)

    async def embed(
        self, request_id: str, inputs: Sequence[str | Sequence[int]]
    ) -> list[Embedding]:
        llm = self._alive()
        if self._spec.task != "embed" or self._renderer is None:
            raise InvalidRequest("This model makes no embeddings.", "model")
        try:
            prompts = await self._aside(self._renderer.prompts, inputs)
        except EngineError:
            raise
        except Exception as error:
            raise InvalidRequest(f"The input cannot be read: {error}", "input") from error
        work = (
            embedding(llm, f"{request_id}-{i}", prompt, self.context_tokens, self._running)
            for i, prompt in enumerate(prompts)
        )
        return await all_or_none(list(work))


def may_go_short(request: GenerateRequest) -> bool:
    """Whether its tokens need no more than their text: a stop string is looked for at each, and a
    log probability comes with each. Nobody waits for those of a whole answer."""
    wanted = request.sampling
    return request.stream and wanted.n == 1 and not wanted.stop and wanted.logprobs is None


def _nothing() -> None:
    pass
