"""How much of a new prompt the cache is likely to hold."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from engines.llamacpp.recent_prompts import RecentPrompts
from engines.shared_tokens import shared_tokens

IDS = st.lists(st.integers(0, 3), max_size=30)


@given(IDS, IDS)
def test_the_common_beginning_is_as_long_as_counted_one_by_one(a: list[int], b: list[int]) -> None:
    counted = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    expected = min(len(a), len(b)) if counted is None else counted
    assert shared_tokens(array("i", a), array("i", b)) == expected


def test_what_goes_on_after_a_prompt_has_its_answer_in_the_cache() -> None:
    recent = RecentPrompts(4)
    recent.add([1, 2, 3], 5)
    assert recent.known_tokens([1, 2, 3, *range(20)]) == 8
    assert recent.known_tokens([1, 2, 9, 9]) == 2


def test_the_last_token_is_always_read() -> None:
    recent = RecentPrompts(4)
    recent.add([1, 2, 3], 50)
    assert recent.known_tokens([1, 2, 3]) == 2
    assert recent.known_tokens([1, 2, 3, 4]) == 3


def test_only_so_many_are_kept_and_a_chat_counts_once() -> None:
    recent = RecentPrompts(2)
    recent.add([7, 7, 7, 7], 0)
    recent.add([1, 2], 0)
    recent.add([1, 2, 3], 0)
    assert recent.known_tokens([7, 7, 7, 7, 7]) == 4
    recent.add([5], 0)
    assert recent.known_tokens([7, 7, 7, 7, 7]) == 0
