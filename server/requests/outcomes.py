"""How requests end: in the record, in the usage, and in the client's words."""

import logging
from collections.abc import Mapping
from typing import Literal, TypeAlias

from engines.base import (
    EngineDead,
    EngineError,
    EngineHung,
    InvalidRequest,
    RequestKillsEngines,
    Usage,
)
from server.errors import ApiError, FormBroken, to_api_error
from server.fairness.gate import TurnPlace
from server.ledger.errors import BudgetExceeded
from server.ledger.records import End, UsageRecord
from server.requests.sent_fields import SentFields

log = logging.getLogger("fjord.answer")

Cut: TypeAlias = Literal["client_left", "timed_out", "shut_down"]
"""Why an answer is ended from outside."""


def usage_of(record: UsageRecord) -> Usage:
    """The record's token counts."""
    return Usage(
        record.prompt_tokens,
        record.completion_tokens,
        record.cached_tokens,
        record.reasoning_tokens,
    )


def end_of(exc: Exception, *, has_begun: bool = False) -> End:
    """How a record ends whose request raised `exc`; once it had a token, nothing is a rejection."""
    if isinstance(exc, EngineDead | EngineHung | RequestKillsEngines):
        return "engine_died"
    if isinstance(exc, FormBroken):
        return "failed"
    if isinstance(exc, EngineError | ApiError | BudgetExceeded) and not has_begun:
        return "rejected"
    return "failed"


def cut_error(cut: Cut, place: TurnPlace | None = None) -> ApiError:
    """What the client hears of an answer that was ended from outside. `place`: where it waited for
    its turn then."""
    if cut == "timed_out":
        details = None if place is None else place._asdict()
        message = "The request ran past its deadline."
        return ApiError(504, "REQUEST_TIMEOUT", message, details=details)
    return ApiError.retry(503, "SHUTTING_DOWN", "The server is shutting down.", 10)


def explained(
    exc: Exception, wire_names: Mapping[str, str], fields: SentFields, request_id: str
) -> ApiError:
    """What the client hears of `exc`, in its endpoint's own field names; a bug goes to the log."""
    if isinstance(exc, InvalidRequest) and exc.param is not None:
        exc.param = wire_names.get(exc.param, exc.param)
        if exc.provided is None:
            exc.provided = fields.value(exc.param)
    error = to_api_error(exc)
    if error.code == "INTERNAL_ERROR" and not isinstance(exc, FormBroken | RequestKillsEngines):
        log.exception("request %s failed", request_id, exc_info=exc)
    return error
