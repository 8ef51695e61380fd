"""One thing that was found about a model, and how grave it is. Knows no model."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "note", "fail"]
MOST_WORDS = 160
"""Characters of another's complaint that a line repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`id` is for programs: topic and what was asked, like template.system."""

    id: str
    verdict: Verdict
    text: str

    @property
    def topic(self) -> str:
        return self.id.partition(".")[0]


def ok(id: str, text: str) -> Finding:
    return Finding(id=id, verdict="ok", text=text)


def note(id: str, text: str) -> Finding:
    """It serves, and an operator should know."""
    return Finding(id=id, verdict="note", text=text)


def fail(id: str, text: str) -> Finding:
    """It would not load, or not answer as it should."""
    return Finding(id=id, verdict="fail", text=text)


def shown_size(count: int) -> str:
    """Of bytes."""
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"


def bounded(words: object, most: int = MOST_WORDS) -> str:
    """Another's words in one line, cut where they are too many."""
    text = " ".join(str(words).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
