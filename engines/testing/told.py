"""What the scripted engine tells beside its words: log probabilities, and whole answers."""

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice

from msgspec.structs import replace

from engines.adapter import FindAdapter
from engines.base import (
    Adapter,
    Delta,
    GenerateRequest,
    Prompt,
    Sampling,
    TokenLogprob,
)
from engines.registry.adapters import AdapterUnavailable, read_adapter


def thought_words(words: Iterator[str], sampling: Sampling) -> Iterator[str]:
    """As many as the thinking budget has; it has no marks to count."""
    budget = sampling.thinking_budget
    return words if budget is None else islice(words, budget.tokens)


async def check_adapter(find: FindAdapter, adapter: Adapter | None) -> None:
    """As vLLM has one added before a request names it. Raises AdapterUnavailable."""
    if adapter is None:
        return
    try:
        read_adapter(await find(adapter), adapter.origin)
    except ValueError as error:
        raise AdapterUnavailable from error


def said_with(adapter: Adapter | None, text: str) -> str:
    """An adapter says whose words they are."""
    return text if adapter is None else f"{adapter.name}: {text}"


def prompt_logprobs(
    request: GenerateRequest, prompt: Prompt, words: Callable[[str], Iterator[str]]
) -> tuple[TokenLogprob, ...]:
    """Of each word of a text; a token id says its number."""
    if request.sampling.prompt_logprobs is None:
        return ()
    if isinstance(request.prompt, str):
        tokens = list(words(request.prompt))
    else:
        tokens = [f"<{token_id}>" for token_id in prompt.token_ids]
    top = request.sampling.prompt_logprobs
    return tuple(told for token in tokens for told in logprobs(token, top))


async def with_prompt(
    deltas: AsyncIterator[Delta], told: tuple[TokenLogprob, ...]
) -> AsyncIterator[Delta]:
    """The first delta of each index has what is told of the prompt."""
    seen: set[int] = set()
    async for delta in deltas:
        is_first = bool(told) and delta.index not in seen
        seen.add(delta.index)
        yield replace(delta, prompt_logprobs=told) if is_first else delta


def logprobs(word: str, count: int | None) -> tuple[TokenLogprob, ...]:
    if count is None:
        return ()
    top = tuple(
        TokenLogprob(t, -0.1 - i, tuple(t.encode()))
        for i, t in enumerate([word, *(f"~{k}" for k in range(1, count))][:count])
    )
    return (TokenLogprob(word, -0.1, tuple(word.encode()), top),)


async def folded(deltas: AsyncIterator[Delta]) -> AsyncIterator[Delta]:
    """One delta a choice, at its end: what an engine gives to a request that does not stream."""
    parts: dict[int, list[Delta]] = {}
    async for d in deltas:
        parts.setdefault(d.index, []).append(d)
        if d.finish_reason:
            yield _merge(parts.pop(d.index))


def _merge(parts: list[Delta]) -> Delta:
    return Delta(
        index=parts[0].index,
        text="".join(p.text for p in parts),
        token_count=sum(p.token_count for p in parts),
        finish_reason=parts[-1].finish_reason,
        reasoning="".join(p.reasoning for p in parts),
        reasoning_token_count=sum(p.reasoning_token_count for p in parts),
        tool_calls=tuple(c for p in parts for c in p.tool_calls),
        logprobs=tuple(x for p in parts for x in p.logprobs),
        prompt_logprobs=parts[0].prompt_logprobs,
    )
