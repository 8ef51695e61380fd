"""What an engine says to a fixed prompt, so that it can be asked again after its sleep."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from engines.base import (
    Engine,
    EngineUnavailable,
    GenerateRequest,
    PairOptions,
    Sampling,
    TextPair,
)
from engines.registry.spec import EngineSpec

_PROMPT = "The fjord is deep and the"
_REQUEST = GenerateRequest(
    request_id="fjord-after-sleep",
    prompt=_PROMPT,
    sampling=Sampling(max_tokens=1, temperature=0.0, ignore_eos=True, logprobs=0),
    stream=False,
)
_CLOSE = 0.02
"""Of two vectors' numbers: other kernels round otherwise."""


@dataclass(frozen=True, slots=True)
class FirstWords:
    """One greedy token, or one vector: of a reranker its score."""

    token: str = ""
    vector: Sequence[float] = ()

    def is_same(self, other: "FirstWords") -> bool:
        if self.token != other.token or len(self.vector) != len(other.vector):
            return False
        pairs = zip(self.vector, other.vector, strict=True)
        return all(abs(one - another) <= _CLOSE for one, another in pairs)


async def first_words(engine: Engine, spec: EngineSpec) -> FirstWords:
    """Raises what the engine does, and EngineUnavailable where it says nothing."""
    if spec.task == "embed":
        [found] = await engine.embed(_REQUEST.request_id, [_PROMPT])
        return FirstWords(vector=tuple(found.vector))
    if spec.task == "rerank":
        pair = TextPair(_PROMPT, _PROMPT)
        [score] = await engine.score(_REQUEST.request_id, [pair], PairOptions())
        return FirstWords(vector=(score.value,))
    said: list[str] = []
    async with aclosing(engine.generate(_REQUEST, await engine.render(_REQUEST))) as deltas:
        async for delta in deltas:
            said += [each.token for each in delta.logprobs] or [delta.text]
    if not said:
        raise EngineUnavailable("it said nothing to a fixed prompt")
    return FirstWords(token="".join(said))
