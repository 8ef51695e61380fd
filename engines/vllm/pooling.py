"""The part of vLLM's engine that models have which make vectors or scores."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from engines.base import Embedding, InvalidRequest, PairOptions, Score, TextPair, Truncation
from engines.host.worker_threads import WorkerThreads
from engines.pair_fit import ReadPair
from engines.registry.spec import EngineSpec
from engines.text_bound import LONG_TEXT_CHARACTERS
from engines.vllm.embeddings import embeddings
from engines.vllm.errors import rendering_error
from engines.vllm.prefix_salt import salted
from engines.vllm.render import Renderer
from engines.vllm.scores import GROUP, PairRenderer, scores, scoring_task


class VllmPooling:
    """What a running engine makes of inputs. `running`: the collectors that wait, shared."""

    def __init__(
        self,
        spec: EngineSpec,
        llm: Any,
        renderer: Renderer,
        threads_for: Callable[[int], WorkerThreads],
        fail: Callable[[Exception, Exception], NoReturn],
        running: set[Any],
    ) -> None:
        self._spec, self._llm, self._renderer = spec, llm, renderer
        self._threads_for, self._fail, self._running = threads_for, fail, running
        self._pairs: PairRenderer | None = None
        self._scoring = ""

    async def start(self) -> None:
        """Raises EngineBroken where the model cannot do what its spec says."""
        if self._spec.task == "rerank":
            self._scoring = await scoring_task(self._llm)
            self._pairs = await self._threads_for(0)(PairRenderer, self._llm, self._renderer)

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None,
        cache_salt: str | None,
    ) -> list[Embedding]:
        if self._spec.task != "embed":
            raise InvalidRequest("This model makes no embeddings.", "model")
        threads = self._threads_for(sum(map(len, inputs)))
        try:
            prompts = await threads(self._renderer.inputs, inputs, truncation)
        except Exception as error:
            self._fail(rendering_error(error, "input"), error)
        context_tokens = self._llm.model_config.max_model_len
        prompts = [salted(prompt, cache_salt) for prompt in prompts]
        return await embeddings(self._llm, request_id, prompts, context_tokens, self._running)

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None,
    ) -> list[Score]:
        if self._pairs is None:
            raise InvalidRequest("This model does not rerank.", "model")
        read = await self._read(self._pairs, pairs, options)
        made: list[Score] = []
        for begin in range(0, len(read), GROUP):
            group = read[begin : begin + GROUP]
            rendered = await self._threads_for(0)(self._pairs.rendered, group)
            prompts = [salted(prompt, cache_salt) for prompt in rendered]
            made += await scores(
                self._llm, request_id, self._scoring, prompts, group, begin, self._running
            )
        return made

    async def _read(
        self, renderer: PairRenderer, pairs: Sequence[TextPair], options: PairOptions
    ) -> list[ReadPair]:
        """In groups, so that a request that is given up ends between two."""
        threads = self._threads_for(sum(len(p.query) + len(p.document) for p in pairs))
        read: list[ReadPair] = []
        for begin, group in read_groups(pairs):
            try:
                read += await threads(renderer.read, group, begin, options)
            except Exception as error:
                self._fail(rendering_error(error, "documents"), error)
        return read


def read_groups(pairs: Sequence[TextPair]) -> Iterator[tuple[int, Sequence[TextPair]]]:
    """Neighbours that are tokenised in one call, each group with the index of its first: few,
    and of few characters unless one alone has more."""
    begin = characters = 0
    for index, pair in enumerate(pairs):
        size = len(pair.query) + len(pair.document)
        is_full = index - begin == GROUP or characters + size > LONG_TEXT_CHARACTERS
        if is_full and index > begin:
            yield begin, pairs[begin:index]
            begin, characters = index, 0
        characters += size
    yield begin, pairs[begin:]


class PoolingCalls:
    """Engine.embed and Engine.score, once there is a `_pooling`."""

    _pooling: VllmPooling | None = None

    def _alive(self) -> Any:
        """vLLM's AsyncLLM. Raises EngineDead."""
        raise NotImplementedError

    async def embed(
        self,
        request_id: str,
        inputs: Sequence[str | Sequence[int]],
        truncation: Truncation | None = None,
        cache_salt: str | None = None,
    ) -> list[Embedding]:
        return await self._pooled().embed(request_id, inputs, truncation, cache_salt)

    async def score(
        self,
        request_id: str,
        pairs: Sequence[TextPair],
        options: PairOptions,
        cache_salt: str | None = None,
    ) -> list[Score]:
        return await self._pooled().score(request_id, pairs, options, cache_salt)

    def _pooled(self) -> VllmPooling:
        self._alive()
        if self._pooling is None:
            raise InvalidRequest("This model makes no vectors and no scores.", "model")
        return self._pooling
