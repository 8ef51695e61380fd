"""One check of the contract: what it asks, where its rule stands, and what came of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from server.conform.target import Target

Source: TypeAlias = Literal["documented", "declared"]
"""Whose word a rule is: the service's own pages', or Fjord's where those are silent."""
Verdict: TypeAlias = Literal["pass", "fail", "differs", "skipped"]
Run: TypeAlias = Callable[[Target], None]

CONTRACT = "docs/contract.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A named question to a server. `run` returns where the rule holds, else raises Unmet."""

    id: str
    title: str
    source: Source
    rule: str
    """The anchor of its rule in docs/contract.md."""
    run: Run
    is_alone: bool = False
    """Compares requests with each other: nothing else may run meanwhile."""
    is_slow: bool = False
    """May generate a thousand tokens: asked for by --thorough only."""

    @property
    def cites(self) -> str:
        return f"{CONTRACT}#{self.rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found. `expected` and `seen` are empty where it passed."""

    check: Check
    verdict: Verdict
    expected: str = ""
    seen: str = ""
    duration_s: float = 0.0


def documented(
    rule: str, *, alone: bool = False, slow: bool = False
) -> Callable[[Callable[[Target], None]], Check]:
    """Makes a check of a function: its name is the id, its docstring the title."""
    return lambda run: _made(run, "documented", rule, alone, slow)


def declared(
    rule: str, *, alone: bool = False, slow: bool = False
) -> Callable[[Callable[[Target], None]], Check]:
    """As `documented`, for a rule that is Fjord's own."""
    return lambda run: _made(run, "declared", rule, alone, slow)


def checks_of(module: ModuleType) -> Iterator[Check]:
    """The checks of a file, in its order: single ones and tuples of them."""
    for value in vars(module).values():
        if isinstance(value, Check):
            yield value
        elif isinstance(value, tuple):
            yield from (each for each in value if isinstance(each, Check))


def _made(run: Any, source: Source, rule: str, alone: bool, slow: bool) -> Check:
    topic = run.__module__.rsplit(".", 1)[1]
    title = " ".join((run.__doc__ or "").split()).rstrip(".")
    return Check(
        id=f"{topic}.{run.__name__}",
        title=title,
        source=source,
        rule=rule,
        run=run,
        is_alone=alone,
        is_slow=slow,
    )
