"""What engines were seen to take, kept in the data directory for the next plan."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.memory_in_use import MemoryInUse
from engines.planning.cards import Card
from engines.registry.spec import EngineSpec

FILE_NAME = "measured_memory.json"
_NEAR = 0.02
_MOST_ENGINES = 256
"""That are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """On each card of one engine. `card_bytes` is the card's size, `card` its name."""

    weights_bytes: int
    reserve_bytes: int
    token_bytes: int
    card: str
    card_bytes: int

    def is_of(self, card: Card) -> bool:
        """A card of another size, or known by another name, tells nothing."""
        same_size = abs(card.total_bytes - self.card_bytes) <= _NEAR * self.card_bytes
        return same_size and card.name.upper() in self.card.upper()


def measured_on(card: Card, uses: Sequence[MemoryInUse], token_bytes: int) -> Measured:
    """Of what an engine told of each of its cards, all of this kind, the fullest. `token_bytes`
    where it does not say."""
    fullest = max(uses, key=lambda use: (use.weights_bytes or 0) + (use.reserve_bytes or 0))
    return Measured(
        weights_bytes=fullest.weights_bytes or 0,
        reserve_bytes=fullest.reserve_bytes or 0,
        token_bytes=fullest.token_bytes or token_bytes,
        card=card.name,
        card_bytes=card.total_bytes,
    )


class MeasuredMemory:
    """The store, for threads. An engine is known by model, revision, file and arguments: its
    group, so that what one replica took is known of all. A file that is damaged, or of another
    version, counts as empty."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._writing = threading.Lock()

    def of(self, spec: EngineSpec, card: Card) -> Measured | None:
        found = [each for each in self._read().get(spec.group, ()) if each.is_of(card)]
        return found[-1] if found else None

    def note(self, spec: EngineSpec, measured: Measured) -> None:
        """In the place of what was known of that card; the engines that were noted longest ago
        are forgotten. Raises OSError."""
        with self._writing:
            known = {key: list(each) for key, each in self._read().items()}
            others = [each for each in known.pop(spec.group, ()) if each.card != measured.card]
            known[spec.group] = [*others, measured]
            kept = list(known.items())[-_MOST_ENGINES:]
            self._write({key: [asdict(each) for each in several] for key, several in kept})

    def _read(self) -> Mapping[str, tuple[Measured, ...]]:
        try:
            engines = json.loads(self._path.read_text(encoding="utf-8"))["engines"]
            return {key: tuple(_checked(each) for each in rows) for key, rows in engines.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _write(self, engines: Mapping[str, Any]) -> None:
        """Beside it, then renamed: what stands there is always whole."""
        text = json.dumps({"engines": engines}, indent=1)
        beside = self._path.with_name(f".{FILE_NAME}.new")
        try:
            beside.write_text(text, encoding="utf-8")
            os.replace(beside, self._path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def _checked(row: Mapping[str, Any]) -> Measured:
    sizes = ("weights_bytes", "reserve_bytes", "token_bytes", "card_bytes")
    values = {name: int(row[name]) for name in sizes}
    if min(values.values()) < 0 or not values["card_bytes"]:
        raise ValueError("sizes are not below 0")
    return Measured(card=str(row["card"]), **values)
