"""What a check found: a line for a person."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from server.cli.trouble import why
from server.refusal import CannotStart
from server.settings import Settings

State: TypeAlias = Literal["ok", "note", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`remedy` says what to do about one that is not ok."""

    name: str
    state: State
    words: str
    remedy: str = ""


Check: TypeAlias = Callable[[Settings], Iterable[Diagnosis]]


def ok(name: str, words: str) -> Diagnosis:
    return Diagnosis(name=name, state="ok", words=words)


def note(name: str, words: str, remedy: str = "") -> Diagnosis:
    """It works, and could be better."""
    return Diagnosis(name=name, state="note", words=words, remedy=remedy)


def bad(name: str, words: str, remedy: str) -> Diagnosis:
    return Diagnosis(name=name, state="bad", words=words, remedy=remedy)


def diagnoses(checks: Iterable[tuple[str, Check]], settings: Settings) -> Iterator[Diagnosis]:
    """Of each check in turn; one that fails itself is a finding and hinders no other."""
    for name, check in checks:
        try:
            yield from check(settings)
        except CannotStart as refusal:
            for line in str(refusal).splitlines():
                yield bad(name, line, "")
        except OSError as error:
            yield bad(name, why(error), "")
        except Exception as error:
            words = f"it could not be looked at ({type(error).__name__}: {str(error)[:200]})"
            yield note(name, words, "that is a fault of Fjord's: please tell it")
