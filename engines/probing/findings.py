"""What probes found of a machine, and what to do about it; pure, of what machines told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal, TypeAlias

from engines.probing.files import SeenWeights
from engines.probing.told import NONE, NodeTold

ProbeState: TypeAlias = Literal["ok", "note", "bad"]
SKEW_S: Final = 2.0
"""Between two clocks; logs and bills of one request are dated by several."""
GIB: Final = 2**30
HELD: Final = 0.05
"""Of a card's memory, by somebody else."""
FREE_HOST: Final = 2 * GIB
DIFFERS: Final = "install the same on both machines: parts of one engine are one program"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """A line for a person. `remedy` says what to do about one that is not ok."""

    node: str
    name: str
    state: ProbeState
    words: str
    remedy: str = ""


def findings_document(found: Sequence[ProbeFinding]) -> dict[str, Any]:
    """For programs; node by node, as they come."""
    nodes = [
        {"node": name, "checks": [_check(each) for each in of_node]}
        for name, of_node in groupby(found, key=lambda each: each.node)
    ]
    return {"bad": sum(each.state == "bad" for each in found), "nodes": nodes}


def _check(each: ProbeFinding) -> dict[str, str]:
    return {"name": each.name, "state": each.state, "words": each.words, "remedy": each.remedy}


def versions(node: str, told: NodeTold, head: NodeTold, head_name: str) -> ProbeFinding:
    """Equal to the head's."""
    differing = [
        f"{name} {told.versions.get(name, NONE)} instead of {version}"
        for name, version in head.versions.items()
        if told.versions.get(name, NONE) != version
    ]
    if differing:
        words = f"{', '.join(differing)} of {head_name}"
        return ProbeFinding(node=node, name="versions", state="bad", words=words, remedy=DIFFERS)
    if told.versions.get("vLLM", NONE) == NONE:
        remedy = "install it on all machines: it is what runs an engine over several"
        return ProbeFinding(
            node=node, name="versions", state="bad", words="vLLM is not installed", remedy=remedy
        )
    installed = [f"{name} {is_}" for name, is_ in told.versions.items() if is_ != NONE]
    return ProbeFinding(node=node, name="versions", state="ok", words=", ".join(installed))


def clock(node: str, offset_s: float, unsure_s: float, head_name: str) -> ProbeFinding:
    """`offset_s`: how far it is ahead of the head's, measured to `unsure_s`."""
    if abs(offset_s) - unsure_s <= SKEW_S:
        words = f"{offset_s * 1000:+.1f} ms to {head_name}'s, give or take {unsure_s * 1000:.1f}"
        return ProbeFinding(node=node, name="clock", state="ok", words=words)
    words = f"{abs(offset_s):.0f} s {'ahead of' if offset_s > 0 else 'behind'} {head_name}'s"
    remedy = "let chrony or systemd-timesyncd set both by one source"
    return ProbeFinding(node=node, name="clock", state="bad", words=words, remedy=remedy)


def memory(node: str, told: NodeTold) -> ProbeFinding:
    words = f"{told.free / GIB:.1f} of {told.total / GIB:.1f} GiB are free"
    if told.total and told.free < FREE_HOST:
        remedy = "an engine's part wants 2 GiB beside its weights: end what holds the rest"
        return ProbeFinding(node=node, name="memory", state="bad", words=words, remedy=remedy)
    return ProbeFinding(node=node, name="memory", state="ok", words=words)


def cards(node: str, told: NodeTold, head: NodeTold, head_name: str) -> ProbeFinding:
    """Like the head's, and nobody's."""
    own, others = _card_names(told), _card_names(head)
    if bool(own) != bool(others):
        words = f"{_counted(own)}, and {head_name} has {_counted(others)}"
        remedy = "give both cards, or neither: an engine runs on one kind of device"
        return ProbeFinding(node=node, name="cards", state="bad", words=words, remedy=remedy)
    held = [
        f"{(card.total - card.free) / GIB:.0f} GiB of card {at}"
        for at, card in enumerate(told.cards)
        if card.free < card.total * (1 - HELD)
    ]
    if held:
        words = f"{_counted(own)}; others hold {', '.join(held[:8])}"
        remedy = "`nvidia-smi` names who; end it, or leave its cards out"
        return ProbeFinding(node=node, name="cards", state="note", words=words, remedy=remedy)
    if own != others:
        words = f"{_counted(own)}, and {head_name} has {_counted(others)}"
        remedy = "the slowest card and the smallest memory of all set the pace of one engine"
        return ProbeFinding(node=node, name="cards", state="note", words=words, remedy=remedy)
    words = f"{_counted(own)}, all free" if own else "none: engines run on the processor"
    return ProbeFinding(node=node, name="cards", state="ok", words=words)


def _card_names(told: NodeTold) -> list[str]:
    return [f"{card.name or 'a card'} {card.total / GIB:.0f} GiB" for card in told.cards]


def _counted(names: Sequence[str]) -> str:
    kinds = {name: names.count(name) for name in names}
    return ", ".join(f"{count} x {name}" for name, count in kinds.items()) or "no card"


def weights(model: str, seen: Mapping[str, SeenWeights]) -> Iterator[ProbeFinding]:
    """Of one model on all machines, the head's first."""
    head_name, head = next(iter(seen.items()))
    for node, found in seen.items():
        state, words, remedy = _of_weights(found, head, head_name, node == head_name)
        yield ProbeFinding(
            node=node, name="weights", state=state, words=f"{model} {words}", remedy=remedy
        )


def _of_weights(
    found: SeenWeights, head: SeenWeights, head_name: str, is_head: bool
) -> tuple[ProbeState, str, str]:
    if found.state == "wrong":
        return "bad", f"cannot be used: {found.words}", "`fjord weights verify --repair` mends it"
    if found.state == "missing":
        remedy = "`fjord weights pull` there, or one folder that all machines share"
        return "bad", "is not here", remedy
    size = f"is here, {found.size / GIB:.2f} GiB"
    if is_head or head.state != "here":
        return "ok", size, ""
    if found.largest and found.largest == head.largest:
        return "ok", f"{size}: one folder with {head_name}", ""
    if found.commit and head.commit and found.commit != head.commit:
        words = f"is of commit {found.commit[:12]}, and {head.commit[:12]} on {head_name}"
        return "bad", words, "pin `revision`, and pull it on both"
    known = bool(found.hashes and head.hashes)
    if (found.hashes != head.hashes) if known else (found.sizes != head.sizes):
        return "bad", f"has other files than on {head_name}", "pull it anew on both"
    return "ok", f"{size}, {'the same' if known else 'as large'} as on {head_name}", ""
