"""Deficit round robin over tokens, by weight between owners and then between their keys: pure, and
without a clock.

The rounds are left out: with a quantum that is as small as one likes, an owner's deficit is what it
has `had` (tokens by its weight) beyond the others, and whoever has had least is next. A request is
served before its tokens are saved up, and its owner then pays: so one with a prompt of 100,000
tokens waits no longer for its first turn than one with ten. The estimate is charged at once and put
right at the end.

`now` is the most that anybody had had whose turn it was: an owner that comes, or comes
back, begins there and brings no credit along, only its debts (start-time fair queueing; Goyal, Vin
and Cheng, 1996).
"""

from server.fairness.flow_order import FlowOrder
from server.fairness.lines import KeyLine, OwnerLine
from server.fairness.turn import FairTurn, WeightOf, equal_weights

MOST_OWNERS = 4096
"""That are remembered while they have nothing here; those that owe most stay."""
_SMOOTH = 1 / 16


class FairQueue:
    """Streams have a head start of one mean request over whole answers: no larger share."""

    def __init__(self, weight_of: WeightOf = equal_weights) -> None:
        self.weight_of = weight_of
        self.now = 0.0
        self.inside = 0
        """Requests that were admitted and are not settled."""
        self._owners: dict[str, OwnerLine] = {}
        self._order = FlowOrder()
        """Of the owners that wait."""
        self._count = 0
        self._served = 0
        self._head_start = 0.0

    def __len__(self) -> int:
        """Requests that wait."""
        return self._count

    def admit(self, turn: FairTurn) -> None:
        """It goes at once."""
        owner = self._owner(turn.owner)
        key = owner.key(turn.key)
        self._arrives(owner, key, turn)
        self._charge(owner, key, turn)

    def put(self, turn: FairTurn) -> None:
        """It waits, behind those of its key and class."""
        owner = self._owner(turn.owner)
        key = owner.key(turn.key)
        self._arrives(owner, key, turn)
        key.add(turn)
        owner.weight = self.weight_of(turn.owner)
        self._count_waiting(owner, turn, 1)
        self._place(turn, owner, key)

    def take(self) -> FairTurn:
        """Whoever is next, charged; somebody waits."""
        owner = self._owners[self._order.first()]
        key = owner.keys[owner.order.first()]
        turn = key.pop()
        self._count_waiting(owner, turn, -1)
        self._charge(owner, key, turn)
        return turn

    def is_first_inside(self, turn: FairTurn | None = None) -> bool:
        """Whether its owner has nothing inside; None: of whoever is next."""
        owner = self._owners.get(self._order.first() if turn is None else turn.owner)
        return owner is None or not owner.inside

    def remove(self, turn: FairTurn) -> None:
        """It waits no more, and costs nothing."""
        owner = self._owners[turn.owner]
        key = owner.keys[turn.key]
        del key.line_of(turn)[turn]
        self._count_waiting(owner, turn, -1)
        self._place(turn, owner, key)
        self._forget(turn, owner)

    def settle(self, turn: FairTurn, tokens: float) -> None:
        """An admitted one is over, and has used so many."""
        owner = self._owners[turn.owner]
        key, rest = owner.keys[turn.key], tokens - turn.cost
        owner.had += rest / turn.weight
        key.had += rest
        owner.load -= turn.cost
        key.load -= turn.cost
        owner.inside -= 1
        key.inside -= 1
        self.inside -= 1
        self._place(turn, owner, key)
        self._forget(turn, owner)

    def place(self, turn: FairTurn) -> tuple[int, int]:
        """Of a waiting one, 1 is next: in all, and among its owner's; as if all owners had its
        weight's part of turns, and all keys as many waiting."""
        owner = self._owners[turn.owner]
        own = owner.keys[turn.key]
        before = own.before(turn)
        before += min(owner.waiting - len(own), (len(owner.order) - 1) * (before + 1))
        others = (len(self._order) - 1) * round((before + 1) / owner.weight)
        return 1 + before + min(self._count - owner.waiting, others), 1 + before

    def _owner(self, name: str) -> OwnerLine:
        owner = self._owners.get(name)
        if owner is None:
            if len(self._owners) >= MOST_OWNERS:
                self._forget_idle()
            owner = self._owners[name] = OwnerLine()
        return owner

    def _arrives(self, owner: OwnerLine, key: KeyLine, turn: FairTurn) -> None:
        """Whoever did not wait until now has no credit. (Who waits keeps what an estimate that was
        too high has cost it.)"""
        if not owner.waiting and owner.had < self.now:
            owner.had = self.now
        if not key and key.had < owner.floor:
            key.had = owner.floor
        rest = turn.cost - self._head_start
        self._head_start += rest * _SMOOTH if self._head_start else rest

    def _charge(self, owner: OwnerLine, key: KeyLine, turn: FairTurn) -> None:
        turn.weight = owner.weight = weight = self.weight_of(turn.owner)
        self.now = max(self.now, owner.had)
        owner.floor = max(owner.floor, key.had)
        behind = owner.load_before(key) / weight
        turn.priority = key.priority = max(key.priority, behind) if key.inside else behind
        owner.had += turn.cost / weight
        key.had += turn.cost
        owner.load += turn.cost
        key.load += turn.cost
        owner.inside += 1
        key.inside += 1
        self.inside += 1
        self._served += 1
        owner.served_at = key.served_at = self._served
        self._place(turn, owner, key)

    def _place(self, turn: FairTurn, owner: OwnerLine, key: KeyLine) -> None:
        """In the orders of those that wait, after something of theirs has changed."""
        if not owner.waiting:
            self._order.drop(turn.owner)
        else:
            ahead = self._head_start / owner.weight if owner.interactive else 0.0
            self._order.set(turn.owner, owner.had - ahead, owner.served_at)
        if not key:
            owner.order.drop(turn.key)
        else:
            ahead = self._head_start if key.interactive else 0.0
            owner.order.set(turn.key, key.had - ahead, key.served_at)

    def _count_waiting(self, owner: OwnerLine, turn: FairTurn, count: int) -> None:
        owner.waiting += count
        owner.interactive += count if turn.service_class == "interactive" else 0
        self._count += count

    def _forget(self, turn: FairTurn, owner: OwnerLine) -> None:
        """Once nobody is here all begin anew; who was refused nothing owes nothing."""
        if not self._count and not self.inside:
            self._owners.clear()
            self.now = 0.0
            return
        owner.forget(turn.key)
        if not owner.inside and not owner.waiting and owner.had <= self.now:
            del self._owners[turn.owner]

    def _forget_idle(self) -> None:
        idle = [(o.had, name) for name, o in self._owners.items() if not (o.inside or o.waiting)]
        for _, name in sorted(idle)[: max(1, len(idle) // 2)]:
            del self._owners[name]
