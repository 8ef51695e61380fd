"""The cards of a machine, as a person writes them (8x80, 2x24, 8xH100-80) or as it has them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from engines.spelling import did_you_mean

GIB = 2**30
USABLE = 0.985
"""Of a card's GB on its label, in GiB, what a program finds: an H100 of 80 GB has 79.1, an RTX 4090
of 24 GB 23.6, an H200 of 141 GB 139.8."""
KNOWN_GB = {
    **{"A100": 80, "H100": 80, "H200": 141, "B200": 180, "B300": 270, "L4": 22, "L40S": 45},
    **{"A10": 22, "A40": 45, "A6000": 48, "RTX3090": 24, "RTX4090": 24, "RTX5090": 32},
}
"""A name that needs no size beside it."""
MOST = 1024
_RIGHT = "right would be 8x80, 2x24, 8xH100-80, 8xH100, 4x80,2x24 or auto"


class BadCards(ValueError):
    """What was written is no set of cards; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One device. `total_bytes` is what a program finds on it."""

    total_bytes: int
    label_gb: float
    name: str = ""
    """Empty: only its size is known."""
    node: str = ""
    """The machine that it is in; empty: this one. Elsewhere an engine has its cards whole."""

    def __str__(self) -> str:
        return f"{self.name} {self.label_gb:g} GB".strip()


def labelled_card(label_gb: float, name: str = "") -> Card:
    return Card(total_bytes=int(label_gb * USABLE * GIB), label_gb=label_gb, name=name)


def parse_cards(text: str) -> tuple[Card, ...]:
    """Several kinds stand between commas. Raises BadCards."""
    cards = [card for part in text.split(",") for card in _part(part.strip(), text)]
    if not 1 <= len(cards) <= MOST:
        raise BadCards(f"{text!r} is {len(cards)} cards; {_RIGHT}")
    return tuple(cards)


def shown_cards(cards: Sequence[Card]) -> str:
    """8 × H100 80 GB, 2 × 24 GB."""
    kinds = dict.fromkeys(map(str, cards))
    return ", ".join(f"{[str(c) for c in cards].count(kind)} × {kind}" for kind in kinds)


def _part(part: str, text: str) -> list[Card]:
    found = re.fullmatch(r"(\d{1,5})[xX×](.+)", part, re.ASCII)
    if found is None:
        raise BadCards(f"{text!r} is no set of cards; {_RIGHT}")
    count, kind = int(found[1]), found[2]
    if count > MOST:
        raise BadCards(f"{text!r} is {count} cards, and the most is {MOST}; {_RIGHT}")
    return [_card(kind, text)] * count


def _card(kind: str, text: str) -> Card:
    name, dash, size = kind.rpartition("-")
    if not dash and kind.upper() in KNOWN_GB:
        return labelled_card(KNOWN_GB[kind.upper()], kind.upper())
    if not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", size, re.ASCII) or (dash and not name):
        raise BadCards(
            f"{text!r}: {kind!r} names no size{did_you_mean(kind.upper(), KNOWN_GB)}; {_RIGHT}"
        )
    if not 1 <= float(size) <= 10_000:
        raise BadCards(f"{text!r}: a card has 1 to 10000 GB; {_RIGHT}")
    if name and not re.fullmatch(r"[A-Za-z][\w-]{0,40}", name, re.ASCII):
        raise BadCards(f"{text!r}: {name!r} is no card's name; {_RIGHT}")
    return labelled_card(float(size), name)
