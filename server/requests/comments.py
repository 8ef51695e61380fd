"""What a stream is told while it waits: comment lines, which SDKs pass over."""

from engines.fleet.outlook import Outlook
from server.fairness.gate import TurnPlace

WAITING = b": waiting\n\n"


def waiting(place: TurnPlace | None) -> bytes:
    """`: waiting position=12 owner_position=3` while the engine is full."""
    if place is None:
        return WAITING
    return b": waiting position=%d owner_position=%d\n\n" % place


def loading(alias: str, outlook: Outlook) -> bytes:
    """`: loading NAME state=fetching percent=41 position=2 eta_s=75`, without what nobody knows."""
    if outlook.state == "ready":
        return WAITING
    facts = [f"{name}={value}" for name, value in outlook.facts().items() if value is not None]
    return f": loading {' '.join([alias, *facts])}\n\n".encode()
