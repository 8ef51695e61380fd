"""What an operator tells the fleet of an alias' engine: load, unload, sleep, pin, unpin.

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
        managed = self._by_alias[alias]
        if self._fleet.is_stopped:
            raise EngineUnavailable("The server is shutting down.")
        if command == "load":
            self._fleet.raise_if_pinned_out(alias)
        if command == "sleep":
            _raise_if_sleepless(managed, alias)
        log.info("an operator says %s to engine %s (%s)", command, managed.spec.key, alias)
        await obeyed(self._tell, lambda: _DOES[command](managed, alias))
        if command == "pin":
            self._wake_all()

    def _wake_all(self) -> None:
        """Who waits for what a pinned engine holds need not wait."""
        for managed in self._by_alias.values():
            managed.wake()


def _load(managed: ManagedEngine, alias: str) -> None:
    managed.closed.discard(alias)
    managed.is_unwanted = managed.is_displaced = managed.sleep.is_ordered = False
    if managed.is_hopeless or managed.running is not None:
        return
    managed.retry_at = 0.0
    managed.called_at = managed.called_at or time.monotonic()


def _unload(managed: ManagedEngine, alias: str) -> None:
    managed.closed |= managed.never
    managed.called_at, managed.sleep.is_ordered = None, False
    managed.is_replacement, managed.is_displaced = False, True
    managed.is_unwanted = managed.state not in ("cold", "failed")
    if managed.closed:
        managed.wake()


def _raise_if_sleepless(managed: ManagedEngine, alias: str) -> None:
    """Why it cannot sleep, and what would be right."""
    if managed.sleep.level:
        return
    if managed.current is None or managed.is_unwanted:
        state = managed.status().state
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
