"""vLLM's exceptions -> ours, by type."""

import re

from engines.base import (
    ContextLengthExceeded,
    EngineDead,
    EngineError,
    EngineOverloaded,
    GenerateRequest,
    InvalidRequest,
    Prompt,
)

_PLACE = re.compile(r"\[[\d:]+\] /\S+:\d+: ")
"""xgrammar's clock and line of C++, in front of what it says."""


def refused(
    error: Exception, request: GenerateRequest, prompt: Prompt, context_tokens: int
) -> EngineError:
    """What `add_request` raised, before any token."""
    from vllm.v1.engine.exceptions import EngineDeadError

    from vllm import exceptions

    if isinstance(error, EngineError):
        return error
    if isinstance(error, EngineDeadError):
        return EngineDead("The engine's process is gone.")
    # Its queue is full. The class came after 0.26, which has no such limit.
    if isinstance(error, getattr(exceptions, "GracefulHTTPError", ())):
        return EngineOverloaded("The engine's queue is full.")
    if prompt.token_count + 1 > context_tokens:
        return ContextLengthExceeded(prompt.token_count, None, context_tokens)
    return InvalidRequest(_message(error), _param(error, request))


def _message(error: Exception) -> str:
    said = _PLACE.sub("", str(error.args[0] if error.args else error))
    return " ".join(said.split())[:600]


def _param(error: Exception, request: GenerateRequest) -> str | None:
    named = getattr(error, "parameter", None)
    if isinstance(named, str):
        return named
    if request.structure is not None:
        return "response_format"
    return "tools" if request.tools else None
