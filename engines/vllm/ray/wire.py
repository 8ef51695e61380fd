"""What the front and a driver say to each other over their pipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Cards of one node, as Ray knows it."""

    node: str
    """Its address in the cluster."""
    cards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOfNodes:
    """An engine: where, with which of vLLM's arguments, and the front's sockets for its requests
    and tokens."""

    seats: tuple[Seat, ...]
    arguments: Mapping[str, Any]
    sockets: tuple[str, str]
    environment: Mapping[str, str]
    path: str
    """Of its weights here."""
    hub: str | None
    """What the nodes fetch themselves where they have no such path; None: nothing."""
    revision: str | None
    start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RayAsk:
    """`address` as ray.init takes it, None: the cluster that this machine belongs to. Without an
    engine the driver tells of the nodes."""

    address: str | None = None
    engine: AskedOfNodes | None = None

    @property
    def is_client(self) -> bool:
        return self.address is not None and self.address.startswith("ray://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """`address`: this machine's, as the nodes reach it."""

    own_node: str | None
    address: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The job is over; why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The engine computes. `config`: its VllmConfig, pickled by the node."""

    config: bytes
    is_path: bool
    """Whether its nodes read the weights from the front's own path."""


@dataclass(frozen=True, slots=True)
class Alive:
    """All nodes of the engine have answered a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNode:
    """`facts`: as remote.machine_facts told them; empty: it does not answer."""

    node: str
    name: str
    address: str
    gpus: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        return bool(self.facts)


@dataclass(frozen=True, slots=True)
class RayNodes:
    """All of the cluster that are said to be alive, without the front's own."""

    nodes: tuple[RayNode, ...]


Told: TypeAlias = Joined | Failed | Loaded | Alive | RayNodes
