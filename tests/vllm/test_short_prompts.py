"""Short prompts are made on the event loop, and are the prompts that a thread makes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from engines.base import ContextLengthExceeded, GenerateRequest, InvalidRequest
from engines.vllm import short_prompts
from engines.vllm.render import Renderer
from engines.vllm.short_prompts import CHARACTERS, MESSAGES, MOST_S, ShortPrompts, is_quick
from tests.support import plain_renderers
from tests.support.engine_core import engine_over
from tests.support.engine_fixtures import ask
from tests.support.plain_renderers import WEATHER

pytestmark = pytest.mark.vllm
made, renderer = plain_renderers.made, plain_renderers.renderer


def asked(*contents: str, **fields: Any) -> GenerateRequest:
    roles = ("user", "assistant")
    messages = [
        {"role": roles[number % 2], "content": content} for number, content in enumerate(contents)
    ]
    return ask("", messages=messages, **fields)


def without_time(rendered: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rendered.items() if name != "arrival_time"}


class Thought:
    """A PlainRenderer that takes its time."""

    def __init__(self, seconds: float, refuses: bool = False) -> None:
        self.seconds, self.refuses = seconds, refuses

    def chat(self, messages: Sequence[Any], switches: Mapping[str, Any]) -> Any:
        began = time.thread_time()
        while time.thread_time() - began < self.seconds:
            pass
        return None if self.refuses else {"prompt_token_ids": [1]}


@pytest.fixture
def short(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> ShortPrompts:
    monkeypatch.setattr(short_prompts, "MOST_S", 1.0)  # however busy the machine is
    return ShortPrompts(renderer)


@pytest.mark.parametrize(
    "contents",
    [("",), ("Hi",), ("æøå 中文 🙂",), ("x" * CHARACTERS,), ("a",) * (MESSAGES - 1)],
    ids=["empty", "hi", "letters", "longest", "most"],
)
def test_a_short_chat_is_what_a_thread_makes_of_it(
    short: ShortPrompts, renderer: Renderer, contents: tuple[str, ...]
) -> None:
    request = asked(*contents)
    rendered = short.of(request)
    assert rendered is not None
    assert without_time(rendered) == without_time(renderer.chat(request))


def test_a_short_text_is_what_a_thread_makes_of_it(short: ShortPrompts, renderer: Renderer) -> None:
    request = ask("", messages=None, prompt="Once upon a time")
    rendered = short.of(request)
    assert rendered is not None
    assert without_time(rendered) == without_time(renderer.prompts(["Once upon a time"])[0])


@pytest.mark.parametrize(
    "request_",
    [
        asked("x" * (CHARACTERS + 1)),
        asked(*("a",) * (MESSAGES + 1)),
        asked("Hi", prompt_end="message"),
        asked("Hi", tools=[WEATHER]),
        ask("", messages=None, prompt=[1, 2]),
        ask("", messages=None, prompt=""),
        asked("x-anthropic-billing-header: 1"),
    ],
    ids=["long", "many", "unended", "tools", "ids", "nothing", "left out"],
)
def test_another_goes_to_a_thread(short: ShortPrompts, request_: GenerateRequest) -> None:
    assert short.of(request_) is None


def test_what_is_refused_is_refused_as_in_a_thread(short: ShortPrompts, renderer: Renderer) -> None:
    for request in (asked("\ud83d"), ask("", messages=None, prompt="\ud83d")):
        with pytest.raises((InvalidRequest, UnicodeEncodeError, TypeError)) as inline:
            short.of(request)
        with pytest.raises(type(inline.value)):
            renderer.prompt(request)


def test_a_template_that_takes_long_or_refuses_keeps_to_threads() -> None:
    quick: Any = Thought(0)
    slow: Any = Thought(2 * MOST_S)
    refusing: Any = Thought(0, refuses=True)
    assert is_quick(quick)
    assert not is_quick(slow)
    assert not is_quick(refusing)


@pytest.mark.anyio
async def test_an_engine_makes_short_prompts_in_no_thread_and_others_in_one(
    llm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_prompts, "MOST_S", 1.0)
    engine = engine_over(llm)
    await engine.start()
    before = {task.get_name() for task in asyncio.all_tasks()}
    prompt = await engine.render(ask("What is the capital of Norway?"))
    assert prompt.token_count > 5
    assert not engine._threads.ordinary._has_begun
    await engine.render(ask("What is it? " * 100))
    assert engine._threads.ordinary._has_begun
    assert {task.get_name() for task in asyncio.all_tasks()} == before
    with pytest.raises(ContextLengthExceeded):
        await engine.render(ask("x y " * 100_000))
