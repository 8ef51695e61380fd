"""How fast bytes go between a machine and the head, and whether full ones go at all."""

from dataclasses import dataclass
from typing import Final

from engines.errors import EngineError
from engines.probing.asking import ask
from engines.probing.channel import ProbedNode
from engines.probing.findings import ProbeFinding
from engines.probing.reaching import ReachTarget, Transferred
from engines.probing.wire import TRANSFER, Transfer

SLOW_MBIT: Final = 900.0
"""A gigabit's worth: what the parts of an engine tell each other for a token crosses the link."""
ASK_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """One of two machines, and where it sends from; None: nobody reaches it."""

    node: ProbedNode
    target: ReachTarget | None


async def link(node: LinkEnd, head: LinkEnd, mtus: tuple[int, ...]) -> ProbeFinding | None:
    """A line of `node`; None: there is no way between the two, which the ports' lines say."""
    speeds = []
    for sender, taker in ((head, node), (node, head)):
        if sender.target is None:
            return None
        way = f"{sender.node.name} -> {taker.node.name}"
        try:
            moved = await _moved(taker.node, sender.target)
        except EngineError as error:
            return _bad(node, f"{way}: {error}", "its ports' lines say more")
        if moved.is_stalled:
            remedy = "an MTU is larger than what is between takes: make it 1500 on both, or less"
            words = f"{way}: large messages stop after {moved.bytes:,} bytes (MTU {_of(mtus)})"
            return _bad(node, words, remedy)
        speeds.append(moved.mbit)
    return _speed(node, head, speeds, mtus)


async def _moved(taker: ProbedNode, sender: ReachTarget) -> Transferred:
    return await ask(taker, TRANSFER, Transfer(target=sender), Transferred, ASK_S)


def _speed(
    node: LinkEnd, head: LinkEnd, speeds: list[float], mtus: tuple[int, ...]
) -> ProbeFinding:
    words = f"{_shown(speeds[0])} from {head.node.name}, {_shown(speeds[1])} to it, "
    words += f"MTU {_of(mtus)}"
    if len(set(mtus)) > 1:
        return _note(node, words, "give both interfaces one MTU")
    if min(speeds) < SLOW_MBIT:
        return _note(node, words, "slow for parts of one engine, and enough for replicas")
    return ProbeFinding(node=node.node.name, name="link", state="ok", words=words)


def _of(mtus: tuple[int, ...]) -> str:
    return " and ".join(map(str, dict.fromkeys(mtus)))


def _shown(mbit: float) -> str:
    return f"{mbit / 1000:.1f} Gbit/s" if mbit >= 1000 else f"{mbit:.0f} Mbit/s"


def _bad(node: LinkEnd, words: str, remedy: str) -> ProbeFinding:
    return ProbeFinding(node=node.node.name, name="link", state="bad", words=words, remedy=remedy)


def _note(node: LinkEnd, words: str, remedy: str) -> ProbeFinding:
    return ProbeFinding(node=node.node.name, name="link", state="note", words=words, remedy=remedy)
