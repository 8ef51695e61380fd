"""The states of a running request: every pair of state and event, on a real run."""

import asyncio
from collections.abc import Coroutine
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.fairness.gates import Gates
from server.ledger.records import UsageRecord
from server.requests import run_state
from server.requests.answer import GenerationRun
from server.requests.run import STUCK_S
from server.requests.run_state import (
    ON_DELTA,
    ON_DELTA_READ,
    RULES,
    TABLE,
    Action,
    Event,
    State,
    rows,
)
from tests.support.paths import ROOT

PAIRS = list(product(State, Event))
CUT = (State.ABORTING, State.LEAVING)
"""Reached by a cut alone."""
FOREVER = float("inf")


class Run(GenerationRun):
    """A run that writes down what it does to engine, task, connection and ledger."""

    __slots__ = ("done",)

    def __init__(self, state: State) -> None:
        self.done: list[str] = []
        record = UsageRecord(
            record_id="r",
            key_id="k",
            owner="o",
            alias="m",
            weights="w",
            revision=None,
            endpoint="chat",
            stream=True,
            started_at=0.0,
            end="lost",
            completion_tokens=1,
        )
        request = SimpleNamespace(request_id="r", stream=True)
        plan = SimpleNamespace(
            sequences=1,
            is_stream=True,
            requests=(request,),
            wire_names={},
            shape=SimpleNamespace(),
            waiting=b": waiting\n\n",
        )
        call: Any = SimpleNamespace(
            plan=plan,
            record=record,
            deadline=FOREVER,
            send_timeout_s=30,
            keep_alive_s=10,
            service_class="standard",
        )
        exchange: Any = SimpleNamespace(
            drop=self._does("drop"),
            blocked_s=lambda now: 0.0,
            is_silent=lambda now, patience_s: False,
            write_now=lambda line: False,
        )
        ledger: Any = SimpleNamespace(progress=self._does("progress"))
        super().__init__(call, exchange, cast(Any, None), ledger, Gates())
        self._engine = cast(Any, SimpleNamespace(abort=self._does("abort")))
        self._task = cast(Any, SimpleNamespace(cancel=self._does("cancel")))
        self.state = state

    def _does(self, what: str) -> Any:
        return lambda *_: self.done.append(what)

    def begin(self, work: Any) -> asyncio.Task[None]:
        if isinstance(work, Coroutine):
            work.close()
            self.done.append("keep_alive")
        return cast("asyncio.Task[None]", None)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_goes_where_the_table_says_and_does_what_it_says(
    state: State, event: Event
) -> None:
    step = TABLE[event][state]
    run = Run(state)
    run.on(event, "client_left")
    assert run.state is step.state
    noted = ["note"] if run.why else []
    assert noted + run.done == list(step.actions)


def test_a_rule_stands_for_each_pair_at_most_once() -> None:
    pairs = [(rule.event, state) for rule in RULES for state in rule.states]
    assert len(pairs) == len(set(pairs))
    assert len(PAIRS) == len(State) * len(Event) == sum(len(row) for row in TABLE.values())


@pytest.mark.parametrize("event", Event)
def test_nothing_happens_to_what_has_ended(event: Event) -> None:
    run = Run(State.ENDED)
    run.on(event, "timed_out")
    assert (run.state, run.done, run.why) == (State.ENDED, [], None)


@pytest.mark.parametrize("state", [s for s in State if s not in CUT])
def test_the_first_reason_stands_and_a_second_cut_does_nothing_more(state: State) -> None:
    run = Run(state)
    run.cut("timed_out")
    after, done = run.state, list(run.done)
    run.cut("shut_down")
    assert (run.state, run.done) == (after, done)
    assert run.why == (None if state is State.ENDED else "timed_out")


@pytest.mark.parametrize("state", [s for s in State if s is not State.ENDED])
def test_every_state_comes_to_its_end(state: State) -> None:
    run = Run(state)
    for event in (Event.SETTLE, Event.ANSWER, Event.OVER):
        run.on(event)
    assert run.state is State.ENDED


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_no_task_is_cancelled_while_its_record_or_its_answer_is_under_way(
    state: State, event: Event
) -> None:
    at_end = state in (State.SETTLING, State.ANSWERING, State.ENDED)
    assert not (at_end and {Action.CANCEL, Action.ABORT} & set(TABLE[event][state].actions))


@pytest.mark.parametrize("state", State)
def test_what_a_token_pays_is_the_tables_and_does_nothing(state: State) -> None:
    assert TABLE[Event.DELTA][state] == (ON_DELTA[state], ())
    assert TABLE[Event.DELTA_READ][state] == (ON_DELTA_READ[state], ())


@pytest.mark.parametrize("state", State)
def test_a_sink_is_ready_in_one_state_alone(state: State) -> None:
    run = Run(state)
    run._is_stream = False
    assert run.is_ready() is (state is State.OPEN)


def test_an_engine_that_ignores_its_abort_is_left_after_a_while() -> None:
    run = Run(State.OPEN)
    run.cut("timed_out")
    run.tick(run._cut_at + 1)
    assert (run.state, run.done) == (State.ABORTING, ["abort", "abort", "progress"])
    run.tick(run._cut_at + STUCK_S + 1)
    assert (run.state, run.done[-1]) == (State.LEAVING, "cancel")
    run.tick(run._cut_at + STUCK_S + 1)
    assert run.done.count("cancel") == 1


def test_a_client_that_takes_nothing_after_a_cut_is_dropped_before_its_engine_is_left() -> None:
    run = Run(State.READING)
    run.cut("shut_down")
    run.exchange.blocked_s = lambda now: 1.0  # type: ignore[method-assign]
    run.tick(run._cut_at + STUCK_S + 1)
    assert (run.state, run.done[-1]) == (State.ABORTING, "drop")


def test_a_comment_line_that_need_not_wait_has_no_task() -> None:
    run, written = Run(State.OPEN), list[bytes]()

    def write_now(chunk: bytes) -> bool:
        written.append(chunk)
        return True

    run.exchange.write_now = write_now  # type: ignore[method-assign]
    run.on(Event.SILENT)
    assert (written, run.done) == ([b": waiting\n\n"], [])


def test_a_tick_of_a_stream_without_a_new_token_does_nothing() -> None:
    run = Run(State.OPEN)
    run.tick(0.0)
    assert run.done == ["progress"]
    run.tick(0.3)
    assert run.done == ["progress"]
    run.call.record.completion_tokens += 1
    run.tick(0.6)
    assert run.done == ["progress"] * 2


@pytest.mark.anyio
async def test_an_end_waits_for_a_comment_line_that_is_under_way() -> None:
    run, written, taken = Run(State.ANSWERING), list[bytes](), asyncio.Event()

    async def write(chunk: bytes, *, more: bool = True) -> None:
        if more:
            await taken.wait()
        written.append(chunk)

    run.exchange.write, run.exchange.started = write, True  # type: ignore[method-assign]
    run.call.plan.shape.close = lambda usage: b"the end"  # type: ignore[union-attr,method-assign]
    run.call.plan.waiting = None  # type: ignore[misc]

    async def said(answer: bytes) -> bytes:
        return answer

    run.call.plan.said = said  # type: ignore[method-assign]
    run._has_engine = True
    run._comment = asyncio.ensure_future(run._keep_alive(b": waiting\n\n"))
    answer = asyncio.ensure_future(run._answer(None))
    await asyncio.wait([answer], timeout=0.05)
    assert written == []
    taken.set()
    await answer
    assert written == [b": waiting\n\n", b"the end"]


def test_the_docstring_and_the_page_have_the_codes_table() -> None:
    lines = [" ".join(row).split() for row in rows()]
    docstring = (run_state.__doc__ or "").splitlines()
    said = [line.split() for line in docstring if line.startswith("    ")][1:]
    assert said == lines
    page = (ROOT / "docs/architecture.md").read_text()
    table = "\n".join("| " + " | ".join(f"{cell}" for cell in row) + " |" for row in rows())
    assert table in page
