"""What the proofs of the fast path ask and compare: requests and outputs that no engine sees."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from engines.base import Delta, GenerateRequest, Prompt, Sampling
from engines.vllm.deltas import Choices
from engines.vllm.fastpath.gathered import GatheredStream
from engines.vllm.fastpath.output_router import OutputRouter
from engines.vllm.fastpath.stream import DirectStream
from engines.vllm.vocabulary import Vocabulary

Render: TypeAlias = Callable[[Sequence[int]], Mapping[str, Any]]
"""Token ids -> vLLM's engine input for them."""

PROMPT = "Once upon a time there was a fjord, deep and cold."
ANSWER = "The fjord: 12,345 m.\n\n\tæøå é 中文字 🙂👩‍🔬🇳🇴 <b>x</b>  {y} I'm. ok"
_SIZES = (1, 1, 3, 2, 5, 1, 8)
"""Tokens an output, over and over."""
_CACHED_TOKENS = 3


class Probes:
    """One engine's probe requests. Each differs from all others in id, prompt, length, priority."""

    def __init__(self, llm: Any, vocabulary: Vocabulary, render: Render) -> None:
        """Raises AttributeError where vLLM lacks one of the names."""
        encode = llm.tokenizer.encode
        self._llm = llm
        self._vocabulary = vocabulary
        self._render = render
        self._prompt_ids = encode(PROMPT, add_special_tokens=False)
        special = list(llm.tokenizer.all_special_ids)[:4]
        answer = encode(ANSWER, add_special_tokens=False)
        self._answer_ids = [*answer, *special, *answer]
        self._number = 0

    def request(self, **settings: Any) -> tuple[GenerateRequest, Prompt]:
        """The next one."""
        self._number += 1
        ids = self._prompt_ids[: 1 + self._number % 5]
        request = GenerateRequest(
            request_id=f"fastpath-probe-{self._number}",
            sampling=Sampling(max_tokens=10 + self._number, **settings),
            prompt=ids,
            priority=self._number,
        )
        rendered = self._render(ids)
        return request, Prompt(token_ids=rendered["prompt_token_ids"], rendered=rendered)

    def collected(self, request: GenerateRequest, core_request: Any, finish: str) -> list[Delta]:
        """An answer by vLLM's own collector."""
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.output_processor import RequestOutputCollector

        processor, name = self._llm.output_processor, core_request.request_id
        collector = RequestOutputCollector(RequestOutputKind.DELTA, name)
        processor.add_request(core_request, None, None, 0, collector)
        choices, deltas = Choices(request, self._vocabulary, None), []
        for output in self._outputs(name, finish):
            processor.process_outputs([output])
            result = collector.get_nowait()
            deltas += [] if result is None else choices.deltas(result)
        return deltas

    def direct(
        self, request: GenerateRequest, core_request: Any, finish: str, router: OutputRouter
    ) -> list[Delta]:
        """The same answer through a direct stream."""
        reader = _Reader()
        choices = Choices(request, self._vocabulary, None)
        stream = DirectStream(core_request.request_id, choices, reader)
        router.register(core_request, stream)
        for output in self._outputs(stream.request_id, finish):
            router.process_outputs([output])
            if stream.is_owed:
                reader.deltas += stream.owed()
        return reader.deltas

    async def gathered(
        self, request: GenerateRequest, core_request: Any, finish: str, router: OutputRouter
    ) -> list[Delta]:
        """The same answer, whole."""
        choices = Choices(request, self._vocabulary, None)
        stream = GatheredStream(core_request.request_id, choices)
        router.register(core_request, stream)
        for output in self._outputs(stream.request_id, finish):
            router.process_outputs([output])
        return await stream.read()

    def _outputs(self, request_id: str, finish: str) -> Iterator[Any]:
        """Messages' outputs that make an answer; vLLM's word for its end is `finish`."""
        from vllm.v1.engine import EngineCoreOutput, FinishReason
        from vllm.v1.metrics.stats import PrefillStats

        groups = list(_grouped(self._answer_ids))
        for position, ids in enumerate(groups):
            output = EngineCoreOutput(request_id=request_id, new_token_ids=ids)
            if position == 0:
                output.prefill_stats = PrefillStats(num_cached_tokens=_CACHED_TOKENS)
            if position == len(groups) - 1:
                output.finish_reason = FinishReason[finish.upper()]
            yield output


class _Reader:
    """A Sink that takes all but the first delta and the last."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []

    def is_ready(self) -> bool:
        return bool(self.deltas)

    def take(self, delta: Delta) -> None:
        self.deltas.append(delta)


def _grouped(ids: Sequence[int]) -> Iterator[list[int]]:
    position = number = 0
    while position < len(ids):
        size = _SIZES[number % len(_SIZES)]
        yield list(ids[position : position + size])
        position, number = position + size, number + 1


def answer_of(deltas: Sequence[Delta]) -> tuple[object, ...]:
    """What two ways to the same answer must agree in."""
    text = "".join(delta.text for delta in deltas)
    counts = sum(delta.token_count for delta in deltas), sum(d.cached_tokens for d in deltas)
    return text, *counts, [delta.finish_reason for delta in deltas if delta.finish_reason]


def differences(core_request: Any, expected: Any) -> list[str]:
    """Fields of two EngineCoreRequests, and of their sampling parameters, that are not the same:
    all that there are, but the id, whose end is random."""
    one, other = _members(core_request), _members(expected)
    names = {*one, *other} - {"request_id"}
    return sorted(name for name in names if not _is_same(one.get(name), other.get(name)))


def _members(core_request: Any) -> dict[str, Any]:
    members = _fields(core_request)
    params = _fields(members.pop("sampling_params"))
    return members | {f"sampling_params.{name}": value for name, value in params.items()}


def _fields(struct: Any) -> dict[str, Any]:
    if names := getattr(struct, "__struct_fields__", ()):
        return {name: getattr(struct, name) for name in names}
    if dataclasses.is_dataclass(struct):
        return {field.name: getattr(struct, field.name) for field in dataclasses.fields(struct)}
    return dict(vars(struct))


def _is_same(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # an array: nobody knows what is in it
        return False
