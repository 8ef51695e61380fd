"""The cards of a Ray cluster's other machines, kept up to date, and where engines stand on them."""

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.base import EngineUnavailable
from engines.planning.cards import Card
from engines.planning.machine import cards_elsewhere
from engines.vllm.ray.child import Driver
from engines.vllm.ray.place import RayPlace
from engines.vllm.ray.remote import machine_facts
from engines.vllm.ray.unequal import unequal
from engines.vllm.ray.wire import RayAsk, RayNode, RayNodes, Seat, Told

log = logging.getLogger("fjord.ray")

FIRST_LOOK_S, NODES_S = 25.0, 15.0
"""How long nodes may take to tell what they have, at the start; and to join the cluster, where it
has none with cards yet."""
_AGAIN_S = 3.0


class NoCluster(Exception):
    """There is none to join, or none with cards; the message says what to do."""


@dataclass(slots=True)
class _Slot:
    """The cards of a node, or of the equal one that came in its place."""

    address: str
    cards: tuple[Card, ...]
    is_here: bool = True


class RayCluster:
    """Thread-safe. `cards` follow the `own` cards of this machine in the plan's count."""

    def __init__(self, address: str | None, own: int) -> None:
        """`address` as ray.init takes it; None: the cluster this machine belongs to. Blocks, for
        less than a minute. Raises NoCluster."""
        self._address, self._own = address, own
        self._lock = threading.Lock()
        self._changed: list[Callable[[], object]] = []
        self._is_ended = False
        self._told: set[str] = set()
        """What the log has said."""
        self._driver = self._observer()
        try:
            self._joined = self._driver.joined()
            nodes = self._first_look()
            self._slots = [_Slot(n.address, cards_of(n)) for n in nodes if not unequal(n, _HERE)]
            self._is_cpu = any(node.facts["is_cpu"] for node in nodes)
            self._say_unequal(nodes)
            self._refuse_empty(nodes)
        except EngineUnavailable as error:
            self.close()
            raise NoCluster(_cannot_join(address, str(error))) from None
        except NoCluster:
            self.close()
            raise
        threading.Thread(target=self._keep, name="ray-cluster", daemon=True).start()

    @property
    def cards(self) -> tuple[Card, ...]:
        """Of all its other machines, those that are away included."""
        return tuple(card for slot in self._slots for card in slot.cards)

    def absent(self) -> frozenset[int]:
        """The cards of machines that do not answer, by their place in the plan."""
        with self._lock:
            here = [slot.is_here for slot in self._slots for _ in slot.cards]
        return frozenset(self._own + i for i, is_here in enumerate(here) if not is_here)

    def on_change(self, changed: Callable[[], object]) -> None:
        """Have it called, in a thread, whenever `absent` has changed."""
        self._changed.append(changed)

    def place(self, cards: Sequence[int]) -> RayPlace | None:
        """Of an engine on these cards of the plan; None: they are this machine's."""
        wanted = [card - self._own for card in cards if card >= self._own]
        if not wanted:
            return None
        with self._lock:
            owners = [slot.address for slot in self._slots for _ in slot.cards]
        nodes = [owners[card] for card in wanted]
        seats = tuple(Seat(node=n, cards=nodes.count(n)) for n in dict.fromkeys(nodes))
        return RayPlace(
            seats=seats, front=self._joined.address, cluster=self._address, is_cpu=self._is_cpu
        )

    def close(self) -> None:
        """Idempotent."""
        self._is_ended = True
        self._driver.end()

    def _observer(self) -> Driver:
        return Driver(RayAsk(address=self._address), self._hear)

    def _first_look(self) -> tuple[RayNode, ...]:
        """Once each has told what it has, or the time is over."""
        ends, nodes = time.monotonic() + NODES_S, self._driver.nodes(FIRST_LOOK_S).nodes
        while not (nodes and all(node.answers for node in nodes)):
            if time.monotonic() > ends + (bool(nodes) * (FIRST_LOOK_S - NODES_S)):
                break
            time.sleep(0.05)
            nodes = self._driver.nodes(FIRST_LOOK_S).nodes
        return tuple(node for node in nodes if node.answers)

    def _refuse_empty(self, nodes: Sequence[RayNode]) -> None:
        if self.cards:
            return
        if reasons := [reason for node in nodes if (reason := unequal(node, _HERE))]:
            raise NoCluster(f"no node of the Ray cluster can be used: {'; '.join(reasons)}")
        raise NoCluster(
            "the Ray cluster has no other machine with a GPU that answers: `ray status` on this "
            "machine says what it has; start one there with `ray start --address HEAD:6379`"
        )

    def _hear(self, told: Told) -> None:
        if isinstance(told, RayNodes) and hasattr(self, "_is_cpu"):
            self._take([node for node in told.nodes if node.answers])

    def _take(self, nodes: Sequence[RayNode]) -> None:
        self._say_unequal(nodes)
        able = [node for node in nodes if not unequal(node, _HERE)]
        with self._lock:
            before = [(slot.address, slot.is_here) for slot in self._slots]
            self._seat(able)
            after = [(slot.address, slot.is_here) for slot in self._slots]
        if after != before:
            self._say_changes(before, after)
            for changed in self._changed:
                changed()

    def _seat(self, nodes: Sequence[RayNode]) -> None:
        """Those that are known where they were; an unknown one where an equal one is away."""
        answering = {node.address for node in nodes}
        for slot in self._slots:
            slot.is_here = slot.address in answering
        for node in nodes:
            if node.address not in {slot.address for slot in self._slots}:
                self._seat_anew(node)

    def _seat_anew(self, node: RayNode) -> None:
        like = _kinds(cards_of(node))
        free = (s for s in self._slots if not s.is_here and _kinds(s.cards) == like)
        if (slot := next(free, None)) is not None:
            slot.address, slot.is_here = node.address, True
        else:
            self._say(f"node {node.address} came: this server counts its cards from its next start")

    def _keep(self) -> None:
        """Another driver where it ended: the cluster's head was away, say."""
        while not self._is_ended:
            time.sleep(_AGAIN_S / 3)
            if self._driver.is_well or self._is_ended:
                continue
            self._is_away(self._driver.failure or "its driver is silent")
            self._driver.end()
            time.sleep(_AGAIN_S)
            if not self._is_ended:
                self._driver = self._observer()

    def _is_away(self, why: str) -> None:
        was_here = any(slot.is_here for slot in self._slots)
        self._take(())
        if was_here:
            log.warning("the Ray cluster is away: %s", why)

    def _say_changes(
        self, before: Sequence[tuple[str, bool]], after: Sequence[tuple[str, bool]]
    ) -> None:
        for address, is_here in set(after) - set(before):
            log.warning("node %s %s", address, "answers" if is_here else "does not answer")

    def _say_unequal(self, nodes: Sequence[RayNode]) -> None:
        for node in nodes:
            if reason := unequal(node, _HERE):
                self._say(f"{reason}: it is not used")

    def _say(self, line: str) -> None:
        """Once."""
        if line not in self._told:
            self._told.add(line)
            log.warning("%s", line)


def cards_of(node: RayNode) -> tuple[Card, ...]:
    """Those that Ray may give away of what nvidia-smi lists there."""
    return cards_elsewhere(node.facts["cards"], node.address, node.gpus)


def _kinds(cards: Sequence[Card]) -> list[str]:
    return [str(card) for card in cards]


def address_of(said: str) -> str | None:
    """`ray`: the cluster of this machine, or RAY_ADDRESS; else as it stands."""
    return os.environ.get("RAY_ADDRESS") if said == "ray" else said


def join(said: str, own: int) -> RayCluster:
    """Raises NoCluster."""
    if importlib.util.find_spec("ray") is None:
        raise NoCluster(
            "Ray is not installed here: `make serve CLUSTER=ray` installs it, as does "
            "`pip install --no-deps --require-hashes -r requirements/ray.txt`"
        )
    if importlib.util.find_spec("vllm") is None:
        raise NoCluster("only vLLM's engines stand on other machines, and vLLM is not installed")
    return RayCluster(address_of(said), own)


def _cannot_join(address: str | None, reason: str) -> str:
    where = address or "of this machine"
    return (
        f"the Ray cluster {where} cannot be joined ({reason[:300]}): start it with "
        "`ray start --head` on one machine and `ray start --address HEAD:6379` on the others, this "
        "one included; RAY_ADDRESS=HEAD:6379 says which, where this machine belongs to several"
    )


_HERE = machine_facts()
