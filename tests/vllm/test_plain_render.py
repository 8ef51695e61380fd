"""Prompts rendered past vLLM's renderer are what vLLM's renderer makes of them, token by token."""

import functools
import random
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engines.testing.tiny import SPECIALS
from engines.vllm.plain_render import rust_tokenizer
from tests.support import plain_renderers
from tests.support.plain_renderers import (
    HI,
    WEATHER,
    Chat,
    Counting,
    byte_ids,
    chat,
    tiny,
    with_bos,
    without_time,
)

pytestmark = pytest.mark.vllm
made, renderer = plain_renderers.made, plain_renderers.renderer

PIECES = (
    *("<|im_start|>", "<|im_end|>", "<|end|>", "<|start|>", "<|pad|>", "<|endoftext|>", "</s>"),
    *("<think>", "</think>", "<think>\nwhy\n</think>\n\n", "<tool_call>", "<tool_response>"),
    *("{{ messages }}", "{% if x %}", "\n", "\n\n", " ", "\t", "\r\n", "\x00", "\u00a0", "\u200d"),
    *("æøå", "é", "中文", "🙂", "👩‍👩‍👧", "אב", "\ufffd", "ﬁ", "İ", "12345", "  x", "user", "It's"),
)
contents = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=8).map("".join),
    st.builds(lambda piece, n: piece * n, st.sampled_from([*PIECES, "word "]), st.integers(0, 700)),
)
messages = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["system", "user", "assistant"]),
    contents,
)
chats = st.lists(messages, min_size=1, max_size=6)
switches = st.sampled_from(
    [
        *({}, {"enable_thinking": True}, {"enable_thinking": False}, {"enable_thinking": None}),
        {"no_such_switch": 1, "range": [1]},
    ]
)
seeded = settings(max_examples=100, derandomize=True, deadline=None, database=None)


@seeded
@given(chats, switches)
@example([HI], {})
@example([{"role": "assistant", "content": ""}], {})
@example([{"role": "system", "content": " \n"}, {"role": "user", "content": "long " * 7000}], {})
def test_a_plain_chat_is_what_vllm_makes_of_it(
    made: Counting, messages: Chat, switches: dict[str, Any]
) -> None:
    made.by_vllm.clear()
    ours = without_time(chat(made, messages, chat_template_kwargs=switches))
    assert made.by_vllm == []
    assert ours == without_time(made.vllms_chat(messages, switches))
    assert len(ours["prompt_token_ids"]) > len(messages)


def test_a_switch_reaches_the_template(renderer: Counting) -> None:
    """Else the parity above would say nothing of Qwen3's thinking."""
    template = renderer.llm.tokenizer.chat_template
    on, off = (
        chat(renderer, [HI], chat_template_kwargs={"enable_thinking": value})["prompt_token_ids"]
        for value in (True, False)
    )
    assert (on != off) == ("enable_thinking" in template)
    assert renderer.by_vllm == []


@seeded
@given(contents.filter(bool))
@example("long " * 7000)
def test_a_text_is_what_vllm_makes_of_it(made: Counting, text: str) -> None:
    made.by_vllm.clear()
    [ours] = made.prompts([text])
    assert made.by_vllm == []
    [wanted] = made.vllms_texts([text])
    assert without_time(ours) == without_time(wanted)


def test_an_empty_text_is_what_vllm_makes_of_it(renderer: Counting) -> None:
    [ours], [wanted] = renderer.prompts([""]), renderer.vllms_texts([""])
    assert without_time(ours) == without_time(wanted)


def test_texts_and_token_ids_come_back_in_their_order(renderer: Counting) -> None:
    last = renderer.llm.model_config.get_vocab_size() - 1
    given = ["One", [0, last], "Two ", (3,)]
    rendered = [without_time(one) for one in renderer.prompts(given)]
    assert [rendered[1], rendered[3]] == [
        {"type": "token", "prompt_token_ids": [0, last]},
        {"type": "token", "prompt_token_ids": [3]},
    ]
    wanted = [without_time(one) for one in renderer.vllms_texts(["One", "Two "])]
    assert [rendered[0], rendered[2]] == wanted


def test_a_text_begins_as_its_tokenizer_wants_and_a_chat_does_not(tmp_path: Path) -> None:
    renderer = Counting(with_bos(tmp_path))
    assert renderer.is_plain
    [text] = renderer.prompts(["Hi"])
    assert text["prompt_token_ids"] == [257, *byte_ids("Hi")]
    start = [257, *byte_ids("user\n")]
    assert chat(renderer, [HI])["prompt_token_ids"][: len(start) + 1] == [*start, *byte_ids("H")]


def test_what_vllm_takes_out_of_a_system_prompt_is_taken_out(renderer: Counting) -> None:
    """Claude Code's changing line would be read, billed and keep the prefix from the cache."""
    header = "x-anthropic-billing-header: cc_version=2.1; cch=1f3a;\nBe brief."
    messages = [{"role": "system", "content": header}, HI]
    ours = without_time(chat(renderer, messages))
    assert ours == without_time(renderer.vllms_chat(messages))


def test_a_tokenizer_that_truncates_by_itself_cuts_no_prompt(tmp_path: Path) -> None:
    """Trainers save what they last truncated to; transformers' own calls turn it off."""
    cut = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}
    renderer = Counting(tiny(tmp_path, tokenizer={"truncation": cut}))
    long = [HI | {"content": "a" * 2000}]
    assert without_time(chat(renderer, long)) == without_time(renderer.vllms_chat(long))
    [text], [wanted] = renderer.prompts(["a" * 2000]), renderer.vllms_texts(["a" * 2000])
    assert without_time(text) == without_time(wanted)


def test_a_tokenizer_that_pads_by_itself_pads_no_prompt(tmp_path: Path) -> None:
    pad: dict[str, Any] = {
        "strategy": {"Fixed": 600},
        "direction": "Left",
        "pad_to_multiple_of": None,
    }
    pad |= {"pad_id": 258, "pad_type_id": 0, "pad_token": SPECIALS[2]}
    renderer = Counting(tiny(tmp_path, tokenizer={"padding": pad}))
    ours = without_time(chat(renderer, [HI]))
    assert ours == without_time(renderer.vllms_chat([HI]))
    assert 258 not in ours["prompt_token_ids"]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_many_at_once_give_what_each_gives_alone(renderer: Counting) -> None:
    jobs = _jobs(renderer, random.Random(0))
    alone = [job() for job in jobs]
    barrier, count = threading.Barrier(8), len(jobs)

    def work(thread: int) -> list[tuple[int, Any]]:
        order = random.Random(thread).sample(range(count), count)
        barrier.wait(30)
        return [(number, jobs[number]()) for number in order]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            assert len(results) == count
            for number, result in results:
                assert result == alone[number]


def _jobs(renderer: Counting, source: random.Random) -> list[Callable[[], Any]]:
    """40 of four kinds; each gives plain values."""
    from tokenizers.decoders import DecodeStream

    inside = rust_tokenizer(renderer.llm.tokenizer)

    def content() -> str:
        return "".join(source.choices([*PIECES, "A few words, ", "and more "], k=60))

    def rendered(messages: Chat, fields: Mapping[str, Any]) -> Any:
        return without_time(chat(renderer, messages, **fields))

    def prompted(text: str) -> Any:
        return [without_time(one) for one in renderer.prompts([text, [1, 2]])]

    def decoded(ids: Sequence[int]) -> list[str | None]:
        stream = DecodeStream(ids=list(ids[:5]), skip_special_tokens=True)
        return [stream.step(inside, token_id) for token_id in ids[5:200]]

    tools = {"tools": (WEATHER,), "tool_parser": "deepseek_v3"}
    jobs: list[Callable[[], Any]] = []
    for _ in range(10):
        system, user = ({"role": role, "content": content()} for role in ("system", "user"))
        jobs += [
            functools.partial(rendered, [system, user], {}),
            functools.partial(rendered, [user], tools),
            functools.partial(prompted, content()),
            functools.partial(decoded, inside.encode(content()).ids),
        ]
    return jobs
