"""Scores of pairs from vLLM's pooling engine."""

from array import array
from collections.abc import Sequence
from typing import Any

from engines.base import (
    ContextLengthExceeded,
    EngineBroken,
    EngineError,
    PairOptions,
    Score,
    TextPair,
)
from engines.host.interpreter_turns import give_way
from engines.inputs import input_at
from engines.pair_fit import ReadPair, fitted
from engines.vllm.embeddings import all_or_none, cached_tokens, outcome
from engines.vllm.pair_tokenizer import VllmPairTokenizer
from engines.vllm.render import Renderer

GROUP = 64
"""Pairs that are tokenised, or read by the model, before others have their turn."""
_TASKS = ("score", "classify")
"""What vLLM calls it: the second since it has one head for both."""


async def scoring_task(llm: Any) -> str:
    """The name of what makes scores. Raises EngineBroken where the model has no one score."""
    able = await llm.get_supported_tasks()
    labels = getattr(llm.model_config.hf_config, "num_labels", 1)
    named = [task for task in _TASKS if task in able]
    if not named or labels != 1:
        why = f"it has {labels} labels" if named else "its head makes no score"
        raise EngineBroken(f"This model is no reranker: {why}, and one is needed.")
    return named[0]


class PairRenderer:
    """Pairs -> what vLLM reads. Safe to call from several threads."""

    def __init__(self, llm: Any, renderer: Renderer) -> None:
        self._tokenizer = VllmPairTokenizer(llm)
        self._renderer = renderer
        self._context_tokens = int(llm.model_config.max_model_len)

    def read(self, pairs: Sequence[TextPair], first: int, options: PairOptions) -> list[ReadPair]:
        """`first`: the index of the first of them. Blocks. Raises InvalidRequest."""
        return [self._read(index, pair, options) for index, pair in enumerate(pairs, first)]

    def _read(self, index: int, pair: TextPair, options: PairOptions) -> ReadPair:
        give_way()
        with input_at(index):
            self._renderer.check_pair(pair, options)
            most = options.most_tokens(self._context_tokens)
            read = fitted(pair, options, most, self._tokenizer)
            if len(read) > most:
                raise ContextLengthExceeded(len(read), None, most)
            self._renderer.check_tokens(read.token_ids, "documents")
        return ReadPair(array("I", read.token_ids), read.second_at)

    def rendered(self, pairs: Sequence[ReadPair]) -> list[Any]:
        """vLLM's own engine inputs. Blocks."""
        return [self._renderer.token_ids(list(pair.token_ids)) for pair in pairs]


async def scores(
    llm: Any,
    request_id: str,
    task: str,
    prompts: Sequence[Any],
    pairs: Sequence[ReadPair],
    first: int,
    running: set[Any],
) -> list[Score]:
    """Of rendered pairs, in order; `first`: the index of the first of them."""
    work = [
        _score(llm, request_id, index, prompt, _params(task, pair), running)
        for index, (prompt, pair) in enumerate(zip(prompts, pairs, strict=True), first)
    ]
    return await all_or_none(work)


async def _score(
    llm: Any, request_id: str, index: int, prompt: Any, params: Any, running: set[Any]
) -> Score:
    name = f"{request_id}-{index}"
    with input_at(index):
        output = await outcome(llm, name, prompt, params, running, param="documents")
    value = float(output.outputs.data.float().reshape(-1)[0])
    if value != value:
        raise EngineError("The model's score is no number.")
    return Score(value, len(prompt["prompt_token_ids"]), cached_tokens(output))


def _params(task: str, pair: ReadPair) -> Any:
    from vllm.pooling_params import PoolingParams

    at = pair.second_at
    kinds = None if at is None else {"compressed_token_type_ids": at}
    return PoolingParams(task=task, extra_kwargs=kinds)
