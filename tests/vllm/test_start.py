"""An engine that is given up while it starts, or cannot be used, is ended with all it began."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from engines.host.processes import ProcessTree
from engines.registry.spec import EngineSpec
from engines.vllm import start as start_module

pytestmark = pytest.mark.anyio
SPEC = EngineSpec(kind="vllm", source="somewhere", args={})


class Llm:
    """As much of an AsyncLLM as is ended."""

    def __init__(self) -> None:
        self.is_ended = threading.Event()

    def shutdown(self, timeout: float) -> None:
        self.is_ended.set()


@pytest.fixture
def llm() -> Llm:
    return Llm()


@pytest.fixture
def loading(llm: Llm, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Starts a load whose engine is there at once and whose renderer is what is given makes."""

    def start(renderer: Callable[[], Any]) -> tuple[asyncio.Task[Any], ProcessTree]:
        monkeypatch.setattr(start_module, "_load", lambda *_: llm)
        monkeypatch.setattr(start_module, "Renderer", lambda *_: renderer())
        tree = ProcessTree()
        return asyncio.ensure_future(start_module.load(SPEC, "somewhere", tree)), tree

    return start


async def test_what_is_ready_is_handed_over(llm: Llm, loading: Any) -> None:
    task, tree = loading(lambda: "a renderer")
    assert await task == (llm, "a renderer")
    assert not llm.is_ended.is_set()
    assert not tree.ended


async def test_given_up_while_its_renderer_is_made(llm: Llm, loading: Any) -> None:
    goes_on, began = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        assert goes_on.wait(60)
        return "a renderer"

    task, tree = loading(slow)
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    await asyncio.to_thread(until_the_thread_ends)
    assert llm.is_ended.is_set()
    assert tree.ended


async def test_given_up_at_the_moment_it_is_ready(llm: Llm, loading: Any) -> None:
    made = threading.Event()

    def quick() -> str:
        made.set()
        return "a renderer"

    task, tree = loading(quick)
    await asyncio.sleep(0)  # it waits
    assert made.wait(60)  # the loop is kept from hearing of it
    until_the_thread_ends()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.is_ended.is_set()
    assert tree.ended


async def test_a_renderer_that_cannot_be_made_ends_it(llm: Llm, loading: Any) -> None:
    def broken() -> None:
        raise ValueError("no such tokenizer")

    task, tree = loading(broken)
    with pytest.raises(ValueError, match="no such tokenizer"):
        await task
    assert llm.is_ended.is_set()
    assert tree.ended


def until_the_thread_ends() -> None:
    for thread in threading.enumerate():
        if thread.name == "vllm-load":
            thread.join(60)
            assert not thread.is_alive()
