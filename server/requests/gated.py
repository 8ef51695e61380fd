"""A run's turn at its engine's gate: it waits there while the engine is full."""

from collections.abc import Sequence
from types import TracebackType

from msgspec.structs import replace

from engines.base import Engine, EngineDead, EngineHung, GenerateRequest
from server.fairness.gate import Gate, Place
from server.fairness.gates import Gates
from server.fairness.turn import Turn
from server.requests.plan import Call
from server.requests.times import Times


class GatedTurn:
    """`async with turn.at(engine, requests) as requests`: they have the priorities of their place
    in the fair order. Raises EngineLeft where the engine ends while it waits."""

    __slots__ = ("_call", "_gate", "_gates", "_requests", "_times", "_turn")

    def __init__(self, call: Call, gates: Gates, times: Times) -> None:
        self._call, self._gates, self._times = call, gates, times
        self._gate: Gate | None = None
        self._turn: Turn | None = None
        self._requests: Sequence[GenerateRequest] = ()

    def at(self, engine: Engine, requests: Sequence[GenerateRequest]) -> "GatedTurn":
        """As they were prepared for that engine."""
        call, record = self._call, self._call.record
        self._requests = requests
        self._gate = gate = self._gates.of(engine)
        mean = gate.estimates.tokens(record.owner)
        answer = sum(r.sampling.n * min(r.sampling.max_tokens, mean) for r in requests)
        self._turn = Turn(
            record.owner,
            record.key_id,
            record.prompt_tokens + answer,
            call.service_class,
            call.plan.sequences,
        )
        return self

    @property
    def place(self) -> Place | None:
        """While it waits."""
        if self._gate is None or self._turn is None:
            return None
        return self._gate.place(self._turn)

    async def __aenter__(self) -> Sequence[GenerateRequest]:
        assert self._gate is not None
        assert self._turn is not None
        gate, turn = self._gate, self._turn
        gate.enter(turn, self._call.record.alias)
        if turn.waiter is not None:
            await self._waited(gate, turn)
        if turn.engine_priority:
            return _in_order(self._requests, turn)
        return self._requests

    async def _waited(self, gate: Gate, turn: Turn) -> None:
        assert turn.waiter is not None
        self._times.is_prepared()
        try:
            await turn.waiter
        except BaseException:
            gate.leave(turn, 0)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._gate is not None
        assert self._turn is not None
        gate, turn, record = self._gate, self._turn, self._call.record
        if isinstance(error, EngineDead | EngineHung):
            gate.end()
        if error is None and record.finish_reason not in (None, "abort"):
            gate.estimates.note(record.owner, record.completion_tokens / turn.sequences)
        gate.leave(turn, self._used())

    def _used(self) -> int:
        """Of the engine: what its cache had cost it nothing."""
        record = self._call.record
        if record.ttft_s is None:
            return 0
        return record.prompt_tokens - record.cached_tokens + record.completion_tokens


def _in_order(requests: Sequence[GenerateRequest], turn: Turn) -> Sequence[GenerateRequest]:
    """Of several prompts each goes behind the one before, as if it were a request."""
    first, step = turn.engine_priority, turn.cost / turn.weight / len(requests)
    return [replace(r, priority=first + int(i * step)) for i, r in enumerate(requests)]
