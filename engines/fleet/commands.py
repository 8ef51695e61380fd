"""What an operator tells the fleet of an alias' engine, and so of all its replicas: load, unload,
sleep, pin, unpin.

load      as a request would, also where no request may; others make room for it by turns
unload    it takes no new request, ends those it has, and stops; the next request loads it again,
          but under an alias that no request loads
sleep     it takes no new request, ends those it has, and gives its cards' memory back; the next
          request wakes it
pin       it never makes room, and does not end when it was idle for long
unpin     it makes room like the others
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, TypeAlias, get_args

from engines.base import EngineUnavailable, InvalidRequest
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.inbox import Tell, obeyed
from engines.fleet.replicas import Replicas
from engines.fleet.reported import status_of

Command: TypeAlias = Literal["load", "unload", "sleep", "pin", "unpin"]
COMMANDS: tuple[Command, ...] = get_args(Command)

log = logging.getLogger("fjord.fleet")


class Steered(Protocol):
    """What the commands ask of the fleet."""

    @property
    def is_stopped(self) -> bool: ...

    def raise_if_pinned_out(self, alias: str) -> None: ...


class OperatorCommands:
    """Each holds until it is taken back, or until the server starts anew."""

    def __init__(self, fleet: Steered, by_alias: Mapping[str, ManagedEngine], tell: Tell) -> None:
        self._fleet, self._by_alias, self._tell = fleet, by_alias, tell

    async def give(self, command: Command, alias: str) -> None:
        """Returns once it is begun: a load, an unload or a sleep takes its time. Again changes
        nothing. Raises KeyError for an unknown alias, EngineUnavailable where the fleet stops, or
        where pinned models hold the memory of what is to be loaded, and InvalidRequest where it
        cannot sleep."""
        replicas = self._by_alias[alias].replicas
        if self._fleet.is_stopped:
            raise EngineUnavailable("The server is shutting down.")
        if command == "load":
            self._fleet.raise_if_pinned_out(alias)
        if command == "sleep":
            _raise_if_sleepless(replicas, alias)
        log.info("an operator says %s to engine %s (%s)", command, replicas.first.spec.group, alias)
        await obeyed(self._tell, lambda: _give(command, replicas, alias))
        if command == "pin":
            self._wake_all()

    def _wake_all(self) -> None:
        """Who waits for what a pinned engine holds need not wait."""
        for managed in self._by_alias.values():
            managed.wake()


def _give(command: Command, replicas: Replicas[ManagedEngine], alias: str) -> None:
    for managed in replicas.members:
        _DOES[command](managed, alias)
    if command == "load":
        _call(replicas.first)


def _load(managed: ManagedEngine, alias: str) -> None:
    managed.closed.discard(alias)
    managed.is_unwanted = managed.is_displaced = managed.sleep.is_ordered = False
    if not managed.is_hopeless and managed.running is None:
        managed.retry_at = 0.0


def _call(first: ManagedEngine) -> None:
    """The others follow where there is room."""
    if not first.is_hopeless and first.running is None:
        first.called_at = first.called_at or time.monotonic()


def _unload(managed: ManagedEngine, alias: str) -> None:
    managed.closed |= managed.never
    managed.called_at, managed.sleep.is_ordered = None, False
    managed.is_replacement, managed.is_displaced = False, True
    managed.is_unwanted = managed.state not in ("cold", "failed")
    if managed.closed:
        managed.wake()


def _raise_if_sleepless(replicas: Replicas[ManagedEngine], alias: str) -> None:
    """Why it cannot sleep, and what would be right."""
    managed = replicas.first
    if managed.state in ("falling_asleep", "sleeping") and not managed.is_unwanted:
        return
    if len(replicas.members) > 1:
        said = f"Model {alias} has replicas, which do not sleep; right would be unload."
    elif managed.current is None or managed.is_unwanted:
        state = status_of(managed).state
        said = f"Model {alias} is {state}: only a loaded one can sleep."
    elif managed.is_pinned:
        said = f"Model {alias} is pinned, and never sleeps; unpin it first."
    else:
        said = managed.sleep.refusal or ""
    if said:
        raise InvalidRequest(said, "alias")


def _sleep(managed: ManagedEngine, alias: str) -> None:
    """Also one whose wakes failed: an operator may try it again."""
    if managed.current is not None:
        managed.sleep.is_ordered, managed.sleep.failed_in_row = True, 0


def _pin(managed: ManagedEngine, alias: str) -> None:
    managed.is_pinned, managed.sleep.is_ordered = True, False


def _unpin(managed: ManagedEngine, alias: str) -> None:
    managed.is_pinned = False


_DOES: Mapping[Command, Callable[[ManagedEngine, str], None]] = {
    "load": _load,
    "unload": _unload,
    "sleep": _sleep,
    "pin": _pin,
    "unpin": _unpin,
}
