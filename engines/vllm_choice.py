"""vLLM's RequestOutput -> Deltas: one Choice an index keeps what a stream must remember."""

from collections.abc import Iterator
from typing import Any

from engines.base import Delta, EngineUnavailable, FinishReason, GenerateRequest

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "abort": "abort",
    "repetition": "stop",
}


class Choices:
    """All choices of one request."""

    def __init__(self, request: GenerateRequest, llm: Any) -> None:
        self._is_first = True

    def deltas(self, output: Any) -> Iterator[Delta]:
        for completion in output.outputs:
            yield Delta(
                index=completion.index,
                text=completion.text,
                token_count=len(completion.token_ids),
                finish_reason=finish_reason(completion.finish_reason),
                cached_tokens=self._cached(output),
            )

    def _cached(self, output: Any) -> int:
        if not self._is_first:
            return 0
        self._is_first = False
        return output.num_cached_tokens or 0


def finish_reason(said: str | None) -> FinishReason | None:
    if said is None:
        return None
    if said == "error":
        raise EngineUnavailable("The engine failed this request; it may be sent again.")
    return _FINISH[said]
