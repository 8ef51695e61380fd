"""Pairs that vLLM's front tokenises in one call."""

import pytest

from engines.base import TextPair
from engines.text_bound import LONG_TEXT_CHARACTERS
from engines.vllm.pooling import read_groups
from engines.vllm.scores import GROUP


@pytest.mark.parametrize(
    ("sizes", "counts"),
    [
        ([1], [1]),
        ([1] * GROUP, [GROUP]),
        ([1] * (2 * GROUP + 1), [GROUP, GROUP, 1]),
        ([LONG_TEXT_CHARACTERS + 1] * 3, [1, 1, 1]),
        ([1, LONG_TEXT_CHARACTERS, 1, 1], [1, 1, 2]),
        ([LONG_TEXT_CHARACTERS // 2] * 5, [2, 2, 1]),
    ],
)
def test_a_group_is_small_and_all_stay_in_order(sizes: list[int], counts: list[int]) -> None:
    pairs = [TextPair("", "x" * size) for size in sizes]
    groups = list(read_groups(pairs))
    assert [len(group) for _, group in groups] == counts
    assert [pair for _, group in groups for pair in group] == pairs
    assert [begin for begin, _ in groups] == [sum(counts[:n]) for n in range(len(counts))]
