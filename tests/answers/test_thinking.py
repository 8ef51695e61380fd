"""The split of reasoning from the answer: every form models write, and its cost."""

import json
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reasoning import LENGTHS, Form, measured, table
from engines.answers.thinking import ThinkingSplitter, as_prompted
from engines.base import Reasoning
from tests.support.paths import ROOT

START, END = 1, 2
VOCABULARY = {
    START: "<think>",
    END: "</think>",
    3: "Hm",
    4: ".",
    5: "\n",
    6: "Oslo",
    7: "<",
    8: "/",
}
IDS = {text: token_id for token_id, text in VOCABULARY.items()}
PIECES = {10: "<th", 11: "ink", 12: ">", 13: "</th", 14: "Hm", 15: "\n", 16: "Oslo", 17: "<b"}
BY_MODEL, BY_TEMPLATE = Reasoning(), Reasoning(opened_by="template")


def decode(token_ids: Sequence[int]) -> str:
    return "".join((VOCABULARY | PIECES)[i] for i in token_ids)


def splitter_for(reasoning: Reasoning, by_id: bool) -> ThinkingSplitter:
    if by_id:
        return ThinkingSplitter(reasoning, START, END)
    return ThinkingSplitter(reasoning, decode=decode)


def split(
    reasoning: Reasoning, token_ids: Sequence[int], sizes: Sequence[int], by_id: bool = True
) -> tuple[str, str, int]:
    """Feed ids in deltas of the given sizes (repeated as needed); fold what comes out."""
    splitter = splitter_for(reasoning, by_id)
    thought, answer, count, at, turn = "", "", 0, 0, 0
    while at < len(token_ids):
        delta = token_ids[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(delta), turn + 1
        more = splitter.feed(decode(delta), delta, at >= len(token_ids))
        thought, answer, count = thought + more[0], answer + more[1], count + more[2]
    return thought, answer, count


SIZES = [[1], [2], [3, 1], [100]]
IN_ONE_TOKEN = [
    pytest.param(BY_MODEL, [1, 3, 4, 2, 6], ("Hm.", "Oslo", 4), id="model opens and closes"),
    pytest.param(BY_TEMPLATE, [3, 4, 2, 6], ("Hm.", "Oslo", 3), id="template opens"),
    pytest.param(BY_TEMPLATE, [1, 3, 2, 6], ("Hm", "Oslo", 3), id="template and model open"),
    pytest.param(BY_TEMPLATE, [3, 4, 3], ("Hm.Hm", "", 3), id="never closed"),
    pytest.param(BY_MODEL, [6, 4], ("", "Oslo.", 0), id="never opened"),
    pytest.param(BY_MODEL, [1, 3, 2, 2, 6], ("Hm", "Oslo", 4), id="closed twice"),
    pytest.param(BY_MODEL, [1, 1, 3, 2, 6], ("Hm", "Oslo", 4), id="opened twice"),
    pytest.param(BY_MODEL, [1, 3, 2, 6, 1, 3, 2, 4], ("HmHm", "Oslo.", 6), id="thinks again"),
    pytest.param(BY_MODEL, [1, 5, 3, 5, 2, 5, 5, 6], ("Hm\n", "Oslo", 5), id="newlines"),
    pytest.param(BY_MODEL, [2, 6], ("", "Oslo", 1), id="closed without opening"),
    pytest.param(BY_TEMPLATE, [2, 6], ("", "Oslo", 1), id="no thought"),
    pytest.param(BY_MODEL, [1, 2], ("", "", 2), id="empty"),
    pytest.param(BY_TEMPLATE, [3, 7, 8, 2, 7, 6], ("Hm</", "<Oslo", 4), id="angle brackets"),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("reasoning", "token_ids", "wanted"), IN_ONE_TOKEN)
def test_marks_of_one_token_split_by_id_however_deltas_are_merged(
    reasoning: Reasoning, token_ids: list[int], wanted: tuple[str, str, int], sizes: list[int]
) -> None:
    assert split(reasoning, token_ids, sizes) == wanted


IN_SEVERAL_TOKENS = [
    pytest.param(BY_MODEL, [10, 11, 12, 14, 13, 11, 12, 16], ("Hm", "Oslo"), id="model"),
    pytest.param(BY_TEMPLATE, [14, 13, 11, 12, 15, 16], ("Hm", "Oslo"), id="template"),
    pytest.param(BY_TEMPLATE, [14, 17, 13, 11, 12, 16], ("Hm<b", "Oslo"), id="false start"),
    pytest.param(BY_TEMPLATE, [14, 13, 11], ("Hm</think", ""), id="cut in the mark"),
    pytest.param(BY_MODEL, [16, 10, 16], ("", "Oslo<thOslo"), id="not a mark"),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("reasoning", "token_ids", "wanted"), IN_SEVERAL_TOKENS)
def test_marks_of_several_tokens_split_by_text_however_deltas_are_merged(
    reasoning: Reasoning, token_ids: list[int], wanted: tuple[str, str], sizes: list[int]
) -> None:
    assert split(reasoning, token_ids, sizes, by_id=False)[:2] == wanted


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_tokens_of_a_mark_of_several_tokens_count_as_reasoning_in_merged_deltas_too(
    sizes: list[int],
) -> None:
    ids = [14, 14, 13, 11, 12, 16, 16, 16]
    assert split(BY_TEMPLATE, ids, sizes, by_id=False) == ("HmHm", "OsloOsloOslo", 5)


def test_a_mark_whose_text_comes_after_its_id_still_splits() -> None:
    splitter = ThinkingSplitter(BY_TEMPLATE, START, END)
    steps = [("H", [3], False), ("m</th", [END], False), ("ink>O", [6], False), ("slo", [], True)]
    pieces = [splitter.feed(text, ids, last) for text, ids, last in steps]
    assert ["".join(part) for part in zip(*[p[:2] for p in pieces], strict=True)] == ["Hm", "Oslo"]
    assert sum(p[2] for p in pieces) == 2


def test_the_same_letters_as_ordinary_tokens_are_no_mark() -> None:
    splitter = ThinkingSplitter(BY_TEMPLATE, START, END)
    assert splitter.feed("the tag </think> ends it", [3, 4, 6]) == (
        "the tag </think> ends it",
        "",
        3,
    )


@given(
    st.lists(st.sampled_from(list(VOCABULARY)), max_size=40),
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.sampled_from([BY_MODEL, BY_TEMPLATE]),
)
def test_merging_deltas_never_changes_the_result(
    token_ids: list[int], sizes: list[int], reasoning: Reasoning
) -> None:
    assert split(reasoning, token_ids, sizes) == split(reasoning, token_ids, [1])


@given(
    st.lists(st.sampled_from(list(PIECES)), max_size=40),
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.sampled_from([BY_MODEL, BY_TEMPLATE]),
)
def test_merging_deltas_never_changes_the_result_of_marks_of_several_tokens(
    token_ids: list[int], sizes: list[int], reasoning: Reasoning
) -> None:
    thought, answer, count = split(reasoning, token_ids, sizes, by_id=False)
    assert (thought, answer) == split(reasoning, token_ids, [1], by_id=False)[:2]
    assert 0 <= count <= len(token_ids)


def cost_per_token_s(length: int, by_id: bool) -> float:
    """CPU time, not the clock's: other processes must not count."""
    splitters = [splitter_for(BY_TEMPLATE, by_id) for _ in range(32_000 // length)]
    began = time.thread_time()
    for splitter in splitters:
        for _ in range(length - 1):
            splitter.feed(" thought", (3,))
        splitter.feed("</think>", (END,))
    return (time.thread_time() - began) / 32_000


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by text"])
@pytest.mark.slow
def test_a_token_of_a_long_trace_costs_no_more_than_one_of_a_short_trace(by_id: bool) -> None:
    turns = [(cost_per_token_s(32_000, by_id), cost_per_token_s(100, by_id)) for _ in range(9)]
    long, short = (min(costs) for costs in zip(*turns, strict=True))
    assert long <= 1.5 * short


def test_the_docs_show_the_figures_that_were_kept_and_none_grows_with_the_trace() -> None:
    root = ROOT
    kept = json.loads((root / "benchmarks/results/reasoning.json").read_text())["us_a_token"]
    assert table(kept) in (root / "docs/benchmarks.md").read_text()
    for way, delta in (("id", "1"), ("id", "8"), ("text", "1"), ("text", "8")):
        short, *_, long = (kept[Form(way, delta, length).name] for length in LENGTHS)
        assert long <= 1.1 * short


@pytest.mark.slow
def test_the_benchmark_of_the_split_measures_every_form() -> None:
    costs = measured(rounds=1)
    assert table(costs).count("|") == 5 * 8
    assert min(costs.values()) > 0


@pytest.mark.parametrize("said", [BY_MODEL, BY_TEMPLATE])
@pytest.mark.parametrize(
    ("prompt_ids", "opened_by"),
    [
        ([6, 6, 6, START, 5], "template"),
        ([6, 6, START, 5, END, 5], "model"),
        ([6, 6, END], "model"),
        ([END, 6, 6, START], "template"),
        ([START], "template"),
    ],
)
def test_the_prompts_own_end_says_whether_the_thinking_is_open(
    said: Reasoning, prompt_ids: list[int], opened_by: str
) -> None:
    assert as_prompted(said, prompt_ids, START, END).opened_by == opened_by


@pytest.mark.parametrize("said", [BY_MODEL, BY_TEMPLATE])
@pytest.mark.parametrize("prompt_ids", [[], [6, 5], [START, END, 6, 6, 6, 6, 6]])
def test_a_prompt_that_ends_without_a_mark_leaves_the_registrys_word(
    said: Reasoning, prompt_ids: list[int]
) -> None:
    assert as_prompted(said, prompt_ids, START, END) is said
    assert as_prompted(said, [START], None, END) is said
