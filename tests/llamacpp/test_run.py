"""What passes a request's reader by, and what waits for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from engines.base import Delta, EngineDead
from engines.llamacpp.deltas import ChoiceReader
from engines.llamacpp.run import Run
from engines.llamacpp.task import Task
from engines.llamacpp.wire import DECODER, Chunk


class Slots:
    """Keeps the tasks; a test says what arrives for them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def submit(self, task: Task) -> None:
        self.tasks.append(task)

    def cancel(self, task: Task) -> None:
        task.is_cancelled = True


class Client:
    """A Sink."""

    def __init__(self) -> None:
        self.keeps_up = True
        self.taken: list[Delta] = []

    def is_ready(self) -> bool:
        return self.keeps_up

    def take(self, delta: Delta) -> None:
        self.taken.append(delta)


def chunk(text: str, tokens: int, index: int = 0, **fields: Any) -> Chunk:
    told = {"index": index, "content": text, "tokens_predicted": tokens, **fields}
    return DECODER.decode(msgspec.json.encode(told))


def last(tokens: int, index: int = 0) -> Chunk:
    return chunk("", tokens, index, stop=True, stop_type="eos")


class Asked:
    """A run of `choices`, its client, and its task."""

    def __init__(self, choices: int = 1, client: Client | None = None) -> None:
        self.client = client
        task = Task(
            fields={},
            pictures=None,
            slots=choices,
            cells=10,
            first_index=0,
            priority=0,
            is_whole=False,
            unread_tokens=1,
            salt=None,
            adapter="",
        )
        self.run = Run([task], [ChoiceReader(i, None) for i in range(choices)], client)
        slots: Any = Slots()
        self.run.submit(slots)
        [self.task] = slots.tasks

    def arrives(self, *items: Any) -> None:
        for item in items:
            self.task.receive(self.task, item)

    async def read(self) -> list[tuple[int, str, int]]:
        async with asyncio.timeout(2):
            return [(d.index, d.text, d.token_count) for d in await self.run.deltas()]


async def under_way(client: Client) -> Asked:
    """With its first token read."""
    asked = Asked(client=client)
    asked.arrives(chunk("a", 1))
    assert await asked.read() == [(0, "a", 1)]
    return asked


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_between_first_and_last_a_ready_client_has_it_at_once() -> None:
    async def work() -> None:
        client = Client()
        asked = Asked(client=client)
        asked.arrives(chunk("a", 1), chunk("b", 2))
        assert client.taken == []
        assert await asked.read() == [(0, "ab", 2)]
        asked.arrives(chunk("c", 3), [chunk("d", 4), chunk("e", 5)])
        assert [(d.text, d.token_count) for d in client.taken] == [("c", 1), ("de", 2)]
        assert asked.run.taken_tokens == 3
        asked.arrives(last(6), None)
        assert await asked.read() == [(0, "", 1)]
        assert asked.run.is_finished
        assert len(client.taken) == 2

    run(work())


def test_a_client_that_does_not_keep_up_has_all_later_and_in_order() -> None:
    async def work() -> None:
        client = Client()
        asked = await under_way(client)
        client.keeps_up = False
        asked.arrives(chunk("b", 2), chunk("c", 3))
        assert client.taken == []
        client.keeps_up = True
        asked.arrives(chunk("d", 4))
        assert [(d.text, d.token_count) for d in client.taken] == [("bcd", 3)]
        client.keeps_up = False
        asked.arrives(chunk("e", 5), last(6))
        assert await asked.read() == [(0, "e", 2)]

    run(work())


def test_each_choice_begins_and_ends_with_the_reader() -> None:
    async def work() -> None:
        client = Client()
        asked = Asked(2, client)
        asked.arrives(chunk("a", 1, 0))
        assert await asked.read() == [(0, "a", 1)]
        asked.arrives(chunk("b", 2, 0), chunk("x", 1, 1))
        assert [(d.index, d.text) for d in client.taken] == [(0, "b")]
        assert await asked.read() == [(1, "x", 1)]
        asked.arrives(chunk("y", 2, 1), last(3, 0))
        assert [(d.index, d.text) for d in client.taken] == [(0, "b"), (1, "y")]
        assert await asked.read() == [(0, "", 1)]
        assert not asked.run.is_finished
        asked.arrives(last(3, 1), None)
        assert await asked.read() == [(1, "", 1)]
        assert asked.run.is_finished

    run(work())


def test_without_a_client_the_reader_has_everything() -> None:
    async def work() -> None:
        asked = Asked()
        asked.arrives(chunk("a", 1), chunk("b", 2))
        assert await asked.read() == [(0, "ab", 2)]
        asked.arrives(chunk("c", 3))
        assert await asked.read() == [(0, "c", 1)]

    run(work())


@pytest.mark.parametrize(
    "broken", [chunk("", 0, error={"message": "boom", "code": 500}), RuntimeError("x")]
)
def test_what_came_before_an_error_is_read_before_it(broken: Any) -> None:
    async def work() -> None:
        client = Client()
        asked = await under_way(client)
        client.keeps_up = False
        asked.arrives(chunk("b", 2), broken, chunk("c", 3))
        assert await asked.read() == [(0, "b", 1)]
        for _ in range(2):
            with pytest.raises((EngineDead, msgspec.DecodeError)):
                await asked.read()

    run(work())


def test_a_reader_that_waits_hears_of_an_error() -> None:
    async def work() -> None:
        asked = Asked(client=Client())
        reading = asyncio.create_task(asked.read())
        await asyncio.sleep(0)
        asked.run.fail(EngineDead("stopped"))
        with pytest.raises(EngineDead, match="stopped"):
            await reading

    run(work())


def test_a_cancelled_one_ends_with_what_it_had() -> None:
    async def work() -> None:
        client = Client()
        asked = await under_way(client)
        asked.task.is_cancelled = True
        client.keeps_up = False
        asked.arrives(chunk("b", 2), None)
        [delta] = await asked.run.deltas()
        assert (delta.text, delta.token_count, delta.finish_reason) == ("b", 1, "abort")

    run(work())
