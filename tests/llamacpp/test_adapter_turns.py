"""Whose adapter runs: one at a time, and nobody waits for ever."""

from hypothesis import given
from hypothesis import strategies as st

from engines.llamacpp.adapter_turns import AdapterTurns
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.task import Task


def task(adapter: str = "", priority: int = 0) -> Task:
    return Task(
        fields={"prompt": [0]},
        slots=1,
        cells=1,
        first_index=0,
        priority=priority,
        is_whole=False,
        unread_tokens=1,
        adapter=adapter,
    )


def begun(turns: AdapterTurns, waiting: list[Task], most: int = 99) -> list[str]:
    """The adapters of all that may begin, begun; they wait no more."""
    began: list[str] = []
    while len(began) < most and (allowed := turns.allowed(waiting)):
        turns.begin(allowed[0])
        waiting.remove(allowed[0])
        began.append(allowed[0].adapter)
    return began


def test_those_of_one_adapter_run_together_and_the_others_wait() -> None:
    turns = AdapterTurns()
    waiting = [task("a"), task("b"), task("a"), task(), task("b")]
    first = list(waiting)
    assert begun(turns, waiting) == ["a", "a"]
    assert begun(turns, waiting) == []
    turns.end(first[0])
    assert begun(turns, waiting) == [], "not before the last of them has ended"
    turns.end(first[2])
    assert begun(turns, waiting) == ["b", "b"]
    for each in (first[1], first[4]):
        turns.end(each)
    assert begun(turns, waiting) == [""]


def test_who_comes_later_waits_while_others_do() -> None:
    turns = AdapterTurns()
    waiting = [task("a")]
    assert begun(turns, waiting) == ["a"]
    waiting += [task("a")]
    assert begun(turns, waiting) == ["a"], "nobody else waits"
    waiting += [task("b"), task("a")]
    assert begun(turns, waiting) == []


def test_a_round_without_room_for_all_goes_on() -> None:
    turns = AdapterTurns()
    waiting = [task("a"), task("b"), task("a"), task("a")]
    first = list(waiting)
    assert begun(turns, waiting, most=2) == ["a", "a"]
    waiting += [task("a")]
    turns.end(first[0])
    assert begun(turns, waiting) == ["a"], "the third of its round; not who came later"


def test_who_goes_before_the_others_is_not_held_up_by_a_round() -> None:
    turns = AdapterTurns()
    low = [task("a", priority=5) for _ in range(4)]
    waiting = list(low)
    assert begun(turns, waiting, most=2) == ["a", "a"]
    waiting.insert(0, task("b"))
    assert begun(turns, waiting) == []
    turns.end(low[0])
    turns.end(low[1])
    assert begun(turns, waiting) == ["b"]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.booleans()), max_size=60))
def test_whatever_comes_one_adapter_runs_and_everyone_gets_a_turn(
    steps: list[tuple[str, bool]],
) -> None:
    turns, waiting, running = AdapterTurns(), list[Task](), list[Task]()

    def go() -> None:
        while len(running) < 3 and (allowed := turns.allowed(waiting)):
            turns.begin(allowed[0])
            waiting.remove(allowed[0])
            running.append(allowed[0])
            assert len({each.adapter for each in running}) == 1

    for adapter, ends in steps:
        waiting.append(task(adapter))
        go()
        if ends and running:
            turns.end(running.pop(0))
            go()
    for _ in range(200):
        if not running:
            break
        turns.end(running.pop(0))
        go()
    assert not waiting


def test_a_prompt_that_another_adapter_has_read_is_not_known() -> None:
    recent = RecentPrompts(4)
    recent.add([1, 2, 3, 4], 2, "a")
    assert recent.known_tokens([1, 2, 3, 4, 5, 6, 7]) == 0
    assert recent.known_tokens([1, 2, 3, 4, 5, 6, 7], "a") == 6
    recent.add([1, 2, 3, 4, 5], 2)
    assert recent.known_tokens([1, 2, 3, 4, 5, 6, 7], "a") == 6, "it is in a slot of its own"
