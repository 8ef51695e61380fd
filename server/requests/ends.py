"""How requests end: in the record, in the usage, and in the client's words."""

from engines.base import EngineDead, EngineError, EngineHung, Usage
from server.errors import ApiError
from server.ledger.records import End, UsageRecord
from server.requests.supervisor import Cut


def usage_of(record: UsageRecord) -> Usage:
    """The record's token counts."""
    return Usage(
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.reasoning_tokens,
    )


def end_of(exc: Exception) -> End:
    """How a record ends whose request raised `exc`."""
    if isinstance(exc, EngineDead | EngineHung):
        return "engine_died"
    if isinstance(exc, EngineError | ApiError):
        return "rejected"
    return "failed"


def cut_error(cut: Cut) -> ApiError:
    """What the client hears of an answer that was ended from outside."""
    if cut == "timed_out":
        return ApiError(504, "REQUEST_TIMEOUT", "The request ran past its deadline.")
    return ApiError.retry(503, "SHUTTING_DOWN", "The server is shutting down.", 10)
