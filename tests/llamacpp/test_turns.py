"""Whose prompt is read next: nobody starves, short ones do not wait for long ones."""

from hypothesis import given
from hypothesis import strategies as st

from engines.llamacpp.task import Task
from engines.llamacpp.turns import (
    LARGE_FORM_CHARACTERS,
    LEAST_TOKENS,
    STREAMS_STEP_TOKENS,
    ReadingTurns,
)

STEP = 256
SHARE = 128
LENGTHS = st.integers(min_value=1, max_value=4000)


def task(unread_tokens: int, priority: int = 0, form: int = 0) -> Task:
    """`form`: characters of its grammar."""
    return Task(
        fields={"prompt": [0] * unread_tokens, "grammar": "x" * form or None},
        slots=1,
        cells=unread_tokens,
        first_index=0,
        priority=priority,
        is_whole=False,
        unread_tokens=unread_tokens,
    )


def begun(turns: ReadingTurns, waiting: list[Task]) -> list[Task]:
    """All that may begin, begun; they wait no more."""
    began = []
    while ready := turns.ready(waiting):
        turns.begin(ready[0])
        waiting.remove(ready[0].task)
        began.append(ready[0].task)
    return began


def test_a_short_prompt_that_came_after_a_long_one_may_begin_at_once() -> None:
    turns = ReadingTurns(STEP)
    long, short = task(2200), task(32)
    assert begun(turns, [long]) == [long]
    assert begun(turns, [short]) == [short]


def test_a_medium_prompt_does_not_wait_for_a_long_one_nor_for_those_behind_it() -> None:
    turns = ReadingTurns(STEP)
    waiting = [task(n) for n in (8000, 4000, 3000, 200)]
    first, _, _, medium = waiting
    assert begun(turns, waiting) == [first, medium]
    turns.end(medium)
    assert [t.unread_tokens for t in begun(turns, waiting)] == [3000]


def test_two_long_prompts_share_what_one_may_take_of_a_step() -> None:
    turns = ReadingTurns(STEP)
    assert turns.piece_tokens() == SHARE
    one, two = waiting = [task(2200), task(2300)]
    begun(turns, waiting)
    assert turns.piece_tokens() == SHARE // 2
    turns.end(one)
    turns.end(one)
    assert turns.piece_tokens() == SHARE
    turns.end(two)
    assert turns.piece_tokens() == SHARE


def test_without_a_long_prompt_nothing_waits() -> None:
    waiting = [task(100) for _ in range(50)]
    assert len(begun(ReadingTurns(STEP), waiting)) == 50


def test_the_more_urgent_of_two_short_long_prompts_goes_first() -> None:
    waiting = [task(3000, 0), task(900, 0), task(300, 5)]
    assert [t.unread_tokens for t in begun(ReadingTurns(STEP), waiting)] == [3000, 900]


def streaming(turns: ReadingTurns, count: int) -> list[Task]:
    found = [task(1) for _ in range(count)]
    for each in found:
        turns.streams(each)
    return found


def test_beside_streams_pieces_are_smaller_and_without_them_as_large_as_before() -> None:
    turns = ReadingTurns(STEP)
    some = streaming(turns, 4)
    assert turns.piece_tokens() == STREAMS_STEP_TOKENS - 4
    many = streaming(turns, 200)
    assert turns.piece_tokens() == LEAST_TOKENS
    for each in (*some, *many, *some):
        turns.streamed(each)
    assert turns.piece_tokens() == SHARE


def test_the_more_long_prompts_wait_the_more_of_a_step_is_theirs() -> None:
    """Else they would pile up while the streams go on."""
    turns = ReadingTurns(STEP)
    streaming(turns, 64)
    longs = [task(2200), task(2300), task(2400)]
    begun(turns, longs.copy())
    turns.ready(longs[2:])
    assert turns.piece_tokens() == 3 * LEAST_TOKENS // 2, "two are read, in turn"
    turns.end(longs[0])
    turns.ready([])
    assert turns.piece_tokens() == LEAST_TOKENS
    turns.ready([task(2200) for _ in range(100)])
    assert turns.piece_tokens() == SHARE


def test_whoever_says_how_much_of_long_prompts_goes_beside_streams_has_it() -> None:
    turns = ReadingTurns(STEP, 100)
    assert turns.piece_tokens() == SHARE
    streaming(turns, 50)
    assert turns.piece_tokens() == 100
    assert ReadingTurns(STEP, 10_000).piece_tokens() == SHARE
    more = ReadingTurns(STEP, 10_000)
    streaming(more, 1)
    assert more.piece_tokens() == SHARE, "never more than where nobody streams"


def test_each_choice_of_an_answer_is_a_stream() -> None:
    turns, four = ReadingTurns(STEP), task(1)
    four.slots = 4
    turns.streams(four)
    assert turns.piece_tokens() == STREAMS_STEP_TOKENS - 4
    turns.streamed(four)
    assert turns.piece_tokens() == SHARE


@given(st.lists(LENGTHS, max_size=30))
def test_a_long_prompt_has_its_half_of_every_step(lengths: list[int]) -> None:
    turns = ReadingTurns(STEP)
    began = begun(turns, [task(n) for n in lengths])
    longs = [t for t in began if t.unread_tokens > SHARE]
    shorts = [t.unread_tokens for t in began if t.unread_tokens <= SHARE]
    assert len(longs) == min(2, sum(n > SHARE for n in lengths))
    assert len(longs) * turns.piece_tokens() <= SHARE
    if longs:
        assert sum(shorts) <= SHARE
    else:
        assert len(shorts) == len(lengths)


@given(st.lists(LENGTHS, max_size=30))
def test_short_prompts_keep_their_order(lengths: list[int]) -> None:
    turns, waiting = ReadingTurns(STEP), [task(n) for n in lengths]
    shorts = [t for t in waiting if t.unread_tokens <= SHARE]
    order = []
    while waiting:
        began = begun(turns, waiting)
        order += began
        for one in began:
            turns.end(one)
    assert [t for t in order if t in shorts] == shorts


@given(LENGTHS, st.lists(LENGTHS, min_size=1, max_size=8), st.lists(LENGTHS, max_size=40))
def test_nobody_starves(own: int, before: list[int], arriving: list[int]) -> None:
    """Whatever comes behind it in every round, a prompt begins once those before it are read."""
    turns, patient = ReadingTurns(STEP), task(own)
    waiting = [*(task(n) for n in before), patient]
    for round_number in range(len(before) + 1):
        began = begun(turns, waiting)
        if patient in began:
            return
        assert began, "nothing is read though something waits"
        for one in began:
            turns.end(one)
        waiting += [task(n) for n in arriving]
        assert round_number < len(before)


def test_large_forms_begin_one_at_a_time_and_hold_up_nobody_else() -> None:
    turns = ReadingTurns(STEP)
    large = LARGE_FORM_CHARACTERS + 1
    one, two, small, none = waiting = [task(8, form=n) for n in (large, large, large - 1, 0)]
    assert begun(turns, waiting) == [one, small, none]
    assert begun(turns, waiting) == []
    turns.end(none)
    assert begun(turns, waiting) == []
    turns.end(one)
    assert begun(turns, waiting) == [two]


def test_a_large_form_that_waits_for_its_slot_holds_up_no_other() -> None:
    turns = ReadingTurns(STEP)
    large = LARGE_FORM_CHARACTERS + 1
    waiting = [task(8, form=large), task(8, form=large)]
    assert [turn.task for turn in turns.ready(waiting)] == waiting
    turns.begin(turns.ready(waiting)[1])
    assert turns.ready(waiting[:1]) == []


def test_a_long_prompt_with_a_large_form_is_read_in_its_own_lane() -> None:
    turns = ReadingTurns(STEP)
    large = LARGE_FORM_CHARACTERS + 1
    long, short = waiting = [task(2200, form=large), task(8, form=large)]
    assert begun(turns, waiting) == [long, short]
