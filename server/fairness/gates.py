"""The gates of all engines that serve."""

from weakref import WeakKeyDictionary

from engines.base import Engine
from server.fairness.gate import Gate, Waiting
from server.fairness.turn import WeightOf, equal_weights


class Gates:
    """A gate lives as long as its engine. Belongs to the event loop."""

    def __init__(self, weight_of: WeightOf = equal_weights) -> None:
        self.weight_of = weight_of
        self.waiting: Waiting = Waiting()
        self._known: WeakKeyDictionary[Engine, Gate] = WeakKeyDictionary()

    def of(self, engine: Engine) -> Gate:
        gate = self._known.get(engine)
        if gate is None:
            gate = self._known[engine] = Gate(engine, self.weight_of, self.waiting)
        return gate
