"""llama.cpp in a process of its own, through xllamacpp: no torch, ready within a second."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from engines.answers.answer_stops import is_searched, stopped, without_stops
from engines.answers.forced_calls import ForcedCalls, is_forced
from engines.answers.prompt_alone import is_prompt_alone, with_a_token, without_tokens
from engines.answers.thinking import ThinkingSplitter, as_prompted
from engines.base import (
    ContextLengthExceeded,
    Delta,
    Embedding,
    EngineDead,
    GenerateRequest,
    InvalidRequest,
    PairOptions,
    Prompt,
    Reasoning,
    Sampling,
    Score,
    Sink,
    TextPair,
    Truncation,
)
from engines.host.worker_threads import GivingUp, WorkerThreads
from engines.llamacpp.admission import SlotQueue
from engines.llamacpp.deltas import ChoiceReader
from engines.llamacpp.liveness import Liveness
from engines.llamacpp.loading import loaded
from engines.llamacpp.model import LlamacppModel
from engines.llamacpp.pictures import PicturePrompt
from engines.llamacpp.rendering import prompt_of
from engines.llamacpp.reranking import groups
from engines.llamacpp.run import Run
from engines.llamacpp.sampling import fields_of, of_choices
from engines.llamacpp.task import Task
from engines.llamacpp.thinking_budget import budget_fields
from engines.llamacpp.tools import call_reader
from engines.registry.spec import EngineSpec
from engines.text_bound import LONG_TEXT_CHARACTERS, request_characters

GROUP_INPUTS = 16
"""Of a request for embeddings, in one call: four steps of llama.cpp's four slots."""


class LlamacppEngine:
    """Satisfies engines.base.Engine for one GGUF file."""

    def __init__(
        self, spec: EngineSpec, path: Path, places: Mapping[str, Path] | None = None
    ) -> None:
        """`places`: where those of its adapters are that could be had, by name; None: all are
        folders of one's own."""
        self.spec = spec
        self.path = path
        own = {each.name: Path(each.path) for each in spec.adapters}
        self._places = own if places is None else places
        self.context_tokens = 0
        self._running: _Running | None = None
        self._read_tokens = 0
        self._runs: dict[str, Run] = {}

    @property
    def generated_tokens(self) -> int:
        """Of all requests so far: the model's own ids."""
        return self._read_tokens + sum(run.taken_tokens for run in self._runs.values())

    async def start(self) -> None:
        model = await loaded(self.spec, self.path, self._places)
        self._running = _Running(model)
        self.context_tokens = model.context_tokens

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        for run in list(self._runs.values()):
            run.fail(EngineDead("The engine was stopped."))
            run.cancel(running.slots)
        await asyncio.to_thread(running.close)

    @property
    def seats(self) -> int:
        return self._alive().model.slot_count

    def waiting_for_cache(self, sequences: int) -> int:
        return 0 if self._running is None else self._running.slots.waiting_for_cache(sequences)

    async def check(self, timeout_s: float) -> None:
        await self._alive().liveness.beat(timeout_s)

    async def render(self, request: GenerateRequest) -> Prompt:
        running = self._alive()
        workers = running.workers_for(request_characters(request))
        with GivingUp() as is_given_up:
            return await workers(prompt_of, running.model, request, is_given_up)

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        if is_prompt_alone(request):
            return without_tokens(self._generated(with_a_token(request), prompt))
        if is_searched(request):
            return stopped(self._generated(without_stops(request), prompt), request.sampling)
        return self._generated(request, prompt, sink)

    async def _generated(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        running = self._alive()
        workers = running.forms if _may_have_form(request) else running.workers
        run = await workers(_run, running, request, prompt, sink)
        self._alive()
        self._runs[request.request_id] = run
        try:
            run.submit(running.slots)
            while not run.is_finished:
                for delta in await run.deltas():
                    self._read_tokens += delta.token_count
                    yield delta
        finally:
            self._read_tokens += run.taken_tokens
            del self._runs[request.request_id]
            run.cancel(running.slots)

    async def abort(self, request_id: str) -> None:
        run = self._runs.get(request_id)
        if run is not None and self._running is not None:
            run.cancel(self._running.slots)

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None = None,
        cache_salt: str | None = None,
    ) -> list[Embedding]:
        if self.spec.task != "embed":
            raise InvalidRequest("This model makes no embeddings.", "model")
        running = self._alive()
        workers = running.workers_for(sum(map(len, inputs)))
        with GivingUp() as is_given_up:
            ids = await workers(running.model.input_ids, inputs, truncation, is_given_up)
        # a group of inputs at a time: the workers take others' groups in between
        groups = [ids[i : i + GROUP_INPUTS] for i in range(0, len(ids), GROUP_INPUTS)]
        made = [await running.workers(running.model.embed, group) for group in groups]
        return [embedding for group in made for embedding in group]

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        running = self._alive()
        reranker = running.model.reranker
        if reranker is None:
            raise InvalidRequest("This model does not rerank.", "model")
        workers = running.workers_for(sum(len(p.query) + len(p.document) for p in pairs))
        with GivingUp() as is_given_up:
            read = await workers(reranker.read, pairs, options, is_given_up)
        scores: list[Score] = []
        for group in groups(read):
            scores += await running.workers(reranker.scores, group)
        return scores

    def _alive(self) -> "_Running":
        if self._running is None:
            raise EngineDead("The engine is not running.")
        return self._running


class _Running:
    """Everything that start begins and stop ends."""

    def __init__(self, model: LlamacppModel) -> None:
        self.model = model
        self.slots = SlotQueue(model)
        self.liveness = Liveness(model.server.handle_metrics)
        self.workers = WorkerThreads(2, "llama-worker")
        self._long_texts = WorkerThreads(1, "llama-long-texts", in_short_turns=True)
        self.forms = WorkerThreads(1, "llama-forms", in_short_turns=True)
        """Forms wait for each other to be compiled, and nobody for them."""

    def workers_for(self, characters: int) -> WorkerThreads:
        """Long texts wait for each other, and nobody for them."""
        return self.workers if characters < LONG_TEXT_CHARACTERS else self._long_texts

    def close(self) -> None:
        """Blocks until nothing of it is left."""
        self.model.server.close()
        self.slots.close()
        self.model.end_trials()
        for threads in (self.forms, self.workers, self._long_texts):
            threads.close()
        self.liveness.close()
        self.model.close()


def _may_have_form(request: GenerateRequest) -> bool:
    return request.structure is not None or bool(request.tools)


def _run(running: "_Running", request: GenerateRequest, prompt: Prompt, sink: Sink | None) -> Run:
    """Raises InvalidRequest."""
    model = running.model
    request = model.tools.with_parser(request)
    s = request.sampling
    if not 0 < prompt.token_count <= model.context_tokens - s.max_tokens:
        raise ContextLengthExceeded(prompt.token_count, s.max_tokens, model.context_tokens)
    marks = _marks(model, request.reasoning)
    request = _as_prompted(request, prompt, marks)
    grammar = model.grammars.of_request(request, model.tools.guides(request))
    ids = list(prompt.token_ids)
    thinking = budget_fields(request, ids, model.token_id)
    adapter = model.adapters.fields(request.adapter)
    fields = fields_of(request, ids, grammar, model.vocabulary, list(marks), thinking) | adapter
    name = request.adapter.name if request.adapter else ""
    pictures: PicturePrompt | None = prompt.rendered
    held = ids if pictures is None else pictures.known_as
    known = model.recent_prompts.known_tokens(held, name) if fields["cache_prompt"] else 0
    tasks = [
        Task(
            fields=of_choices(fields, s, first, size),
            pictures=pictures,
            slots=size,
            cells=prompt.token_count + size * s.max_tokens,
            first_index=first,
            priority=request.priority,
            is_whole=not request.stream,
            unread_tokens=len(ids) - known,
            salt=request.cache_salt,
            adapter=name,
        )
        for first, size in _groups(model, s, prompt.token_count)
    ]
    return Run(tasks, [_choice(request, index, marks) for index in range(s.n)], sink)


def _groups(model: LlamacppModel, s: Sampling, prompt_tokens: int) -> list[tuple[int, int]]:
    """(first index, count) of the choices that share a call. One call reads the prompt once, but
    holds cache for all of its choices; where that is too much, each choice gets a call."""
    if s.n <= model.slot_count and prompt_tokens + s.n * s.max_tokens <= model.cells:
        return [(0, s.n)]
    return [(index, 1) for index in range(s.n)]


def _marks(model: LlamacppModel, reasoning: Reasoning | None) -> dict[str, int]:
    """The think tags' ids, where both are single tokens."""
    if reasoning is None:
        return {}
    ids = {mark: model.token_id(mark) for mark in (reasoning.start, reasoning.end)}
    known = {mark: token for mark, token in ids.items() if token is not None}
    return known if len(known) == 2 else {}


def _as_prompted(
    request: GenerateRequest, prompt: Prompt, marks: dict[str, int]
) -> GenerateRequest:
    thinking = request.reasoning
    if thinking is None:
        return request
    start, end = marks.get(thinking.start), marks.get(thinking.end)
    return replace(request, reasoning=as_prompted(thinking, prompt.token_ids, start, end))


def _choice(request: GenerateRequest, index: int, marks: dict[str, int]) -> ChoiceReader:
    splitter = None
    if (thinking := request.reasoning) is not None:
        ids = marks.get(thinking.start), marks.get(thinking.end)
        splitter = ThinkingSplitter(thinking, *ids)
    calls = ForcedCalls(request) if is_forced(request) else call_reader(request)
    return ChoiceReader(index, request.sampling.logprobs, splitter, calls)
