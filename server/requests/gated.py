"""A run's turn at its engine's gate: it waits there while the engine is full."""

from collections.abc import Sequence
from types import TracebackType

from msgspec.structs import replace

from engines.base import Engine, EngineDead, EngineHung, GenerateRequest
from server.fairness.gate import Gate, TurnPlace
from server.fairness.gates import Gates
from server.fairness.turn import FairTurn, ServiceClass
from server.ledger.records import UsageRecord
from server.peers.engine import PeerEngine
from server.requests.times import Times


class GatedTurn:
    """`async with turn.at(engine, tokens, requests) as turn`: the engine is its for the block's
    time. Raises EngineLeft where that one ends while it waits."""

    __slots__ = (
        *("_engine", "_gate", "_gates", "_record", "_requests", "_service_class"),
        *("_times", "_turn"),
    )

    def __init__(
        self, gates: Gates, record: UsageRecord, times: Times, service_class: ServiceClass
    ) -> None:
        self._gates, self._record, self._times = gates, record, times
        self._service_class: ServiceClass = service_class
        self._gate: Gate | None = None
        self._engine: Engine | None = None
        self._requests: Sequence[GenerateRequest] = ()
        self._turn: FairTurn | None = None

    def at(
        self, engine: Engine, tokens: int, requests: Sequence[GenerateRequest] = ()
    ) -> "GatedTurn":
        """`tokens`: of what it reads. `requests`: as they will be generated."""
        self._gate = gate = self._gates.of(engine)
        self._engine, self._requests = engine, requests
        owner, key = self._record.owner, self._record.key_id
        mean = gate.estimates.tokens(owner)
        answers = sum(r.sampling.n * min(r.sampling.max_tokens, mean) for r in requests)
        sequences = sum(r.sampling.n for r in requests) or 1
        self._turn = FairTurn(owner, key, tokens + answers, self._service_class, sequences)
        return self

    @property
    def place(self) -> TurnPlace | None:
        """While it waits, here or on the node that is asked."""
        if self._gate is None or self._turn is None:
            return None
        return self._gate.place(self._turn) or self._place_elsewhere()

    def _place_elsewhere(self) -> TurnPlace | None:
        """Of its first prompt that waits."""
        if not isinstance(self._engine, PeerEngine):
            return None
        places = (self._engine.place(each.request_id) for each in self._requests)
        return next((place for place in places if place is not None), None)

    async def __aenter__(self) -> FairTurn:
        assert self._gate is not None
        assert self._turn is not None
        gate, turn = self._gate, self._turn
        gate.enter(turn, self._record.alias)
        if turn.waiter is not None:
            self._times.is_prepared()
            try:
                await turn.waiter
            except BaseException:
                gate.leave(turn, 0)
                raise
        return turn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._gate is not None
        assert self._turn is not None
        gate, turn, record = self._gate, self._turn, self._record
        if isinstance(error, EngineDead | EngineHung):
            gate.end()
        used = 0
        if error is None or record.ttft_s is not None:  # what its cache had cost it nothing
            used = record.prompt_tokens - record.cached_tokens + record.completion_tokens
        if error is None and record.finish_reason not in (None, "abort"):
            gate.estimates.note(record.owner, record.completion_tokens / turn.sequences)
        gate.leave(turn, used)


def in_fair_order(requests: Sequence[GenerateRequest], turn: FairTurn) -> Sequence[GenerateRequest]:
    """With the priorities of their place in it. Of several prompts each goes behind the one before,
    as if it were a request."""
    first, step = turn.engine_priority, turn.cost / turn.weight / len(requests)
    if not first and len(requests) == 1:
        return requests
    return [replace(r, priority=first + int(i * step)) for i, r in enumerate(requests)]
