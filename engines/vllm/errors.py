"""vLLM's exceptions -> ours, by type. What is neither the client's nor the engine's end stays."""

import re
from typing import Any, NoReturn

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
_TAKEN = "what the model's chat template or tokenizer takes"
_TAKEN_OF = {"file": "a recording that the model can hear"}


def submission_error(
    error: Exception, llm: Any, request: GenerateRequest, prompt: Prompt, context_tokens: int
) -> Exception:
    """What a request's submission raised, before any token. Itself where it is a bug: it ends
    this request alone."""
    error = engine_error(error, llm)
    if not is_clients(error):
        return error
    if prompt.token_count + 1 > context_tokens:
        return ContextLengthExceeded(prompt.token_count, None, context_tokens)
    return InvalidRequest(message_of(error), _param(error, request))


def engine_error(error: Exception, llm: Any) -> Exception:
    """EngineDead where vLLM says that it died, EngineOverloaded for its full queue; else as it
    is."""
    from vllm.v1.engine.exceptions import EngineDeadError

    from vllm import exceptions

    if isinstance(error, EngineError):
        return error
    if isinstance(error, EngineDeadError) or llm.errored:
        return EngineDead(f"The engine's process is gone: {error}")
    # The class came after 0.26, which has no such limit.
    if isinstance(error, getattr(exceptions, "GracefulHTTPError", ())):
        return EngineOverloaded("The engine's queue is full.")
    return error


def raise_as(outcome: Exception, error: Exception) -> NoReturn:
    """Raise what an error means, with the error behind it where that is something else."""
    if outcome is error:
        raise error
    raise outcome from error


def rendering_error(error: Exception, param: str) -> Exception:
    """What rendering a prompt raised. vLLM's renderer makes a refusal of what a template raises;
    a tokenizer has a TypeError for text that is no Unicode."""
    if is_clients(error) or _is_unreadable(error):
        taken = _TAKEN_OF.get(param, _TAKEN)
        return InvalidRequest(f"The {param} cannot be rendered: {message_of(error)}", param, taken)
    return error


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, TypeError) and "TextEncodeInput" in str(error)


def is_clients(error: Exception) -> bool:
    """Whether a check refused what the client sent. vLLM's own class for it came after 0.26,
    where such errors are ValueErrors."""
    from vllm import exceptions

    checks = (ValueError, getattr(exceptions, "VLLMClientError", ValueError))
    return isinstance(error, checks) and not isinstance(error, EngineError)


def message_of(error: Exception) -> str:
    """One line of at most 600 characters, fit for a client."""
    text = _PLACE.sub("", str(error.args[0] if error.args else error))
    return " ".join(text.split())[:600]


def _param(error: Exception, request: GenerateRequest) -> str | None:
    named = getattr(error, "parameter", None)
    if isinstance(named, str):
        return named
    if request.structure is not None:
        return "response_format"
    return "tools" if request.tools else None
