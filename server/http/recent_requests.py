"""The last requests to the API, as they ended: status, times, tokens, price. No content, in memory
alone."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
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
        *,
        owner: str | None = None,
        key_id: str | None = None,
        alias: str | None = None,
        has_failed: bool = False,
        is_seen: Seen = lambda _: True,
    ) -> list[RecentRequest]:
        """The last one first, of those that are asked for; the others are not there."""
        chosen = self._chosen(owner, key_id, alias, has_failed)
        return list(islice(filter(is_seen, chosen), limit))

    def _chosen(
        self, owner: str | None, key_id: str | None, alias: str | None, has_failed: bool
    ) -> Iterator[RecentRequest]:
        for each in reversed(self._ended):
            if owner is not None and each.owner != owner:
                continue
            if key_id is not None and each.key_id != key_id:
                continue
            if alias is not None and each.alias != alias:
                continue
            if not has_failed or each.status >= 400 or each.code:
                yield each

    def find(self, request_id: str, is_seen: Seen = lambda _: True) -> RecentRequest | None:
        """The last one with this id: clients may choose theirs."""
        alike = (each for each in reversed(self._ended) if each.request_id == request_id)
        return next(filter(is_seen, alike), None)
