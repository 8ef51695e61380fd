"""The states of one running request: which events end, open or hasten it, and what is then done.

    event       in                                          becomes    and does
    generate    waiting                                     reading    -
    delta       open                                        reading    -
    delta_read  reading                                     open       -
    lost        reading, open                               waiting    -
    settle      waiting, reading, open, aborting, leaving   settling   -
    answer      settling                                    answering  -
    over        all but ended                               ended      -
    cut         waiting                                     leaving    note, cancel
    cut         reading, open                               aborting   note, abort
    cut         settling, answering                         same       note
    stalled     waiting                                     leaving    note, cancel, drop
    stalled     reading, open                               aborting   note, abort, drop
    stalled     settling, answering                         same       note, drop
    stalled     aborting, leaving                           same       drop
    unanswered  aborting                                    leaving    cancel
    silent      waiting, reading, open, settling            same       keep_alive
    tick        reading, open                               same       progress
    tick        aborting                                    same       abort, progress

Every other pair is ignored: the state stays and nothing is done. Knows no engine and no HTTP.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a request is."""

    WAITING = "waiting"
    """For an engine, its prompt and its entry in the ledger; a single run's work too."""
    READING = "reading"
    """The engine generates; its next delta is awaited, or being read, by the request's task."""
    OPEN = "open"
    """The same, and what comes next may be taken past the task."""
    ABORTING = "aborting"
    """Cut: the engine was told to end, and is read to its end, so that all it made is billed."""
    LEAVING = "leaving"
    """Cut: the task was cancelled, where no engine would end by itself."""
    SETTLING = "settling"
    """The work is over and its record is being written."""
    ANSWERING = "answering"
    """The record is durable: a whole answer, or a stream's end, is being sent."""
    ENDED = "ended"


class Event(StrEnum):
    """What happens to it: the first seven by its own task, the others from outside."""

    GENERATE = "generate"
    """An engine, a prompt and an entry in the ledger are there."""
    DELTA = "delta"
    """The task has a delta, or the deltas' end."""
    DELTA_READ = "delta_read"
    """... and waits for the next."""
    LOST = "lost"
    """Its engine is gone before it had a token; it waits for the next."""
    SETTLE = "settle"
    ANSWER = "answer"
    OVER = "over"
    CUT = "cut"
    """Its client left, its deadline passed, or the server shuts down."""
    STALLED = "stalled"
    """Its client has taken nothing for too long."""
    UNANSWERED = "unanswered"
    """Its engine has ignored an abort for too long."""
    SILENT = "silent"
    """A stream has said nothing for a while."""
    TICK = "tick"
    """The supervisor looks at it."""


class Action(StrEnum):
    """What a run does about it; none waits for anything."""

    NOTE = "note"
    """Keep why it was cut, and since when: the first reason stands."""
    CANCEL = "cancel"
    """Cancel the request's task."""
    ABORT = "abort"
    """Tell the engine to end; again at each tick, since an engine knows nothing of a request that
    it has not taken yet (vLLM first compiles its schema), and would generate it to its end."""
    DROP = "drop"
    """Cut the connection."""
    KEEP_ALIVE = "keep_alive"
    """Send a comment line."""
    PROGRESS = "progress"
    """Note in the ledger what a crash would bill."""


class Transition(NamedTuple):
    """What becomes of one pair of state and event."""

    state: State
    actions: tuple[Action, ...] = ()


class Rule(NamedTuple):
    """A row of the table."""

    event: Event
    states: tuple[State, ...]
    becomes: State | None
    """None: the state stays."""
    actions: tuple[Action, ...] = ()


_S, _E, _A = State, Event, Action
_GENERATING = (_S.READING, _S.OPEN)
_AT_WORK = (_S.WAITING, *_GENERATING, _S.ABORTING, _S.LEAVING)
_AT_END = (_S.SETTLING, _S.ANSWERING)
_BEFORE_ITS_END = tuple(state for state in State if state is not _S.ENDED)

RULES = (
    Rule(_E.GENERATE, (_S.WAITING,), _S.READING),
    Rule(_E.DELTA, (_S.OPEN,), _S.READING),
    Rule(_E.DELTA_READ, (_S.READING,), _S.OPEN),
    Rule(_E.LOST, _GENERATING, _S.WAITING),
    Rule(_E.SETTLE, _AT_WORK, _S.SETTLING),
    Rule(_E.ANSWER, (_S.SETTLING,), _S.ANSWERING),
    Rule(_E.OVER, _BEFORE_ITS_END, _S.ENDED),
    Rule(_E.CUT, (_S.WAITING,), _S.LEAVING, (_A.NOTE, _A.CANCEL)),
    Rule(_E.CUT, _GENERATING, _S.ABORTING, (_A.NOTE, _A.ABORT)),
    Rule(_E.CUT, _AT_END, None, (_A.NOTE,)),
    Rule(_E.STALLED, (_S.WAITING,), _S.LEAVING, (_A.NOTE, _A.CANCEL, _A.DROP)),
    Rule(_E.STALLED, _GENERATING, _S.ABORTING, (_A.NOTE, _A.ABORT, _A.DROP)),
    Rule(_E.STALLED, _AT_END, None, (_A.NOTE, _A.DROP)),
    Rule(_E.STALLED, (_S.ABORTING, _S.LEAVING), None, (_A.DROP,)),
    Rule(_E.UNANSWERED, (_S.ABORTING,), _S.LEAVING, (_A.CANCEL,)),
    Rule(_E.SILENT, (_S.WAITING, *_GENERATING, _S.SETTLING), None, (_A.KEEP_ALIVE,)),
    Rule(_E.TICK, _GENERATING, None, (_A.PROGRESS,)),
    Rule(_E.TICK, (_S.ABORTING,), None, (_A.ABORT, _A.PROGRESS)),
)


def _table(rules: tuple[Rule, ...]) -> Mapping[Event, Mapping[State, Transition]]:
    """Every pair; those that no rule names stay as they are."""
    table = {event: {state: Transition(state) for state in State} for event in Event}
    for rule in rules:
        for state in rule.states:
            table[rule.event][state] = Transition(rule.becomes or state, rule.actions)
    return table


TABLE = _table(RULES)
ON_DELTA = {state: step.state for state, step in TABLE[Event.DELTA].items()}
"""Of the two events of every delta, which do nothing, the states alone: a token pays one look."""
ON_DELTA_READ = {state: step.state for state, step in TABLE[Event.DELTA_READ].items()}


def rows() -> list[tuple[str, str, str, str]]:
    """The rules in words: event, states, what they become, what is done."""
    return [
        (rule.event.value, _names(rule.states), _next(rule.becomes), _done(rule.actions))
        for rule in RULES
    ]


def _names(states: tuple[State, ...]) -> str:
    if states == _BEFORE_ITS_END:
        return "all but ended"
    return ", ".join(state.value for state in states)


def _next(state: State | None) -> str:
    return "same" if state is None else state.value


def _done(actions: tuple[Action, ...]) -> str:
    return ", ".join(action.value for action in actions) or "-"
