"""Who waits: an owner's keys, and each key's requests in their order."""

from collections import OrderedDict

from server.fairness.flow_order import FlowOrder
from server.fairness.turn import FairTurn

MOST_OVERTAKERS = 8
"""So many of a key's streams in a row go before a whole answer of the same key."""


class KeyLine:
    """One key's requests: those that wait, and how much all of them have had (tokens)."""

    __slots__ = (
        "came",
        "had",
        "inside",
        "interactive",
        "load",
        "overtakers",
        "priority",
        "served_at",
        "standard",
    )

    def __init__(self) -> None:
        self.had = 0.0
        self.inside = 0
        """Requests of its that were admitted and are not settled."""
        self.load = 0.0
        """What they are expected to use (tokens)."""
        self.priority = 0.0
        """The last one's of them: none that comes later goes before it."""
        self.served_at = 0
        self.interactive: OrderedDict[FairTurn, None] = OrderedDict()
        self.standard: OrderedDict[FairTurn, None] = OrderedDict()
        self.came = self.overtakers = 0

    def __len__(self) -> int:
        return len(self.interactive) + len(self.standard)

    def add(self, turn: FairTurn) -> None:
        self.came += 1
        turn.number = self.came
        self.line_of(turn)[turn] = None

    def line_of(self, turn: FairTurn) -> OrderedDict[FairTurn, None]:
        return self.interactive if turn.service_class == "interactive" else self.standard

    def pop(self) -> FairTurn:
        """The next of them; there is one."""
        if self.interactive and (not self.standard or self.overtakers < MOST_OVERTAKERS):
            self.overtakers += bool(self.standard)
            return self.interactive.popitem(last=False)[0]
        self.overtakers = 0
        return self.standard.popitem(last=False)[0]

    def before(self, turn: FairTurn) -> int:
        """How many of its own go before a waiting one, as far as one can tell."""
        line = self.line_of(turn)
        ahead = min(turn.number - next(iter(line)).number, len(line) - 1)
        return ahead if line is self.interactive else ahead + len(self.interactive)


class OwnerLine:
    """One owner: its keys, and how much it has had (tokens by weight)."""

    __slots__ = (
        "floor",
        "had",
        "inside",
        "interactive",
        "keys",
        "load",
        "order",
        "served_at",
        "waiting",
        "weight",
    )

    def __init__(self) -> None:
        self.had = 0.0
        self.floor = 0.0
        """The most that a key of its had had whose turn it was (tokens)."""
        self.keys: dict[str, KeyLine] = {}
        self.order = FlowOrder()
        """Of the keys that wait."""
        self.inside = self.waiting = 0
        self.load = 0.0
        self.interactive = 0
        """Of those that wait."""
        self.served_at = 0
        self.weight = 1.0

    def key(self, name: str) -> KeyLine:
        line = self.keys.get(name)
        if line is None:
            line = self.keys[name] = KeyLine()
        return line

    def forget(self, name: str) -> None:
        """A key that has nothing here and owes nothing."""
        key = self.keys[name]
        if not key.inside and not key and key.had <= self.floor:
            del self.keys[name]

    def load_before(self, key: KeyLine) -> float:
        """Of its requests in the engine, those that go before the key's next one (tokens): not what
        its other keys have there beyond as much."""
        if len(self.keys) == 1:
            return self.load
        own = key.load
        return self.load - sum(k.load - own for k in self.keys.values() if k.load > own)
