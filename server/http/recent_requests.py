"""The last requests to the API, as they ended: status, times, tokens, price. No content, in memory
alone."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import Final, TypeAlias

import msgspec

from server.http.asgi import Scope
from server.http.request_log import RequestLine
from server.tracing.facts import TracedWork

_MOST: Final = 2000
"""About 1 KiB each."""
_PATHS: Final = ("/v1/", "/v2/", "/api/", "/rerank")
_SHOWN: Final = 100
"""Of a path, in characters."""


class RecentRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of them. What is "" or None was never known: it was refused before."""

    request_id: str
    ended_at: float
    """Unix seconds."""
    duration_s: float
    method: str
    path: str
    status: int
    """499: its client left before it was answered."""
    code: str
    """Of the error that was its end."""
    key_id: str
    owner: str
    alias: str
    agent_id: str | None
    currency: str
    amount: int
    """In micro-units of the currency."""
    work: TracedWork | None
    """What the model was asked for."""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Narrows a list of them; None: all."""

    owner: str | None = None
    key_id: str | None = None
    alias: str | None = None
    status: str | None = None
    """Its three digits, or the first and xx."""
    code: str | None = None
    end: str | None = None
    """As its usage record has it."""
    has_failed: bool = False

    def has(self, each: RecentRequest) -> bool:
        pairs = (
            (self.owner, each.owner),
            (self.key_id, each.key_id),
            (self.alias, each.alias),
            (self.code, each.code),
            (self.end, "" if each.work is None else each.work.end),
        )
        if any(wanted not in (None, found) for wanted, found in pairs):
            return False
        is_failed = each.status >= 400 or bool(each.code)
        return self._has_status(str(each.status)) and (is_failed or not self.has_failed)

    def _has_status(self, status: str) -> bool:
        wanted = self.status
        return wanted is None or wanted == status or wanted == f"{status[0]}xx"


Seen: TypeAlias = Callable[[RecentRequest], bool]


class RecentRequests:
    """Belongs to the event loop."""

    def __init__(self, most: int = _MOST) -> None:
        self._ended: deque[RecentRequest] = deque(maxlen=most)

    def add(self, scope: Scope, line: RequestLine, began: float) -> None:
        """One that has ended; `began`: time.monotonic(). Others than the API's are left out."""
        if not scope["path"].startswith(_PATHS):
            return
        record, facts = line.record, line.facts
        self._ended.append(
            RecentRequest(
                request_id=line.request_id,
                ended_at=time.time(),
                duration_s=time.monotonic() - began,
                method=scope["method"],
                path=scope["path"][:_SHOWN],
                status=line.status,
                code=line.code,
                key_id=str(facts.get("key", "")),
                owner=line.owner,
                alias=str(facts.get("model", ""))[:_SHOWN],
                agent_id=None if record is None else record.agent_id,
                currency="" if record is None else record.currency,
                amount=0 if record is None else record.amount,
                work=line.work,
            )
        )

    def newest(
        self,
        limit: int,
        chosen: Chosen | None = None,
        is_seen: Seen = lambda _: True,
        offset: int = 0,
    ) -> list[RecentRequest]:
        """The last one first, of those that are asked for, behind `offset` of them; what is not
        seen is not there."""
        wanted = (chosen or Chosen()).has
        found = filter(wanted, filter(is_seen, reversed(self._ended)))
        return list(islice(found, offset, offset + limit))

    def since(self, moment: float) -> Iterator[RecentRequest]:
        """Those that ended after `moment`, in Unix seconds, the last one first."""
        return takewhile(lambda each: each.ended_at > moment, reversed(self._ended))

    def find(self, request_id: str, is_seen: Seen = lambda _: True) -> RecentRequest | None:
        """The last one with this id: clients may choose theirs."""
        alike = (each for each in reversed(self._ended) if each.request_id == request_id)
        return next(filter(is_seen, alike), None)
