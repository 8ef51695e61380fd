"""Who is let into llama.cpp's slots, with calls that a test ends."""

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from engines.llamacpp.admission import MOST_OVERTAKERS, UNFAIR_OVERTAKER, SlotQueue
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.task import Item, Task

pytestmark = pytest.mark.anyio
CHUNK = b'{"content":"","prompt_progress":{"total":2,"cache":0,"processed":2,"time_ms":1}}'


class Server:
    """Each call waits for its `ends`, then says a chunk, whose answer may end it, and returns."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ends: dict[int, threading.Event] = {}

    def handle_completions(self, payload: bytes, on_chunk: Any, takes_rest: Any) -> None:
        [name, _] = msgspec.json.decode(payload)["prompt"]
        self.began.append(name)
        self.ends[name].wait(60)
        on_chunk(CHUNK)


class Site:
    def __init__(self) -> None:
        self.server = Server()
        model = SimpleNamespace(
            slot_count=4,
            cells=1000,
            step_tokens=64,
            long_prompt_tokens=None,
            server=self.server,
            reading_slot=lambda seed: 0,
            recent_prompts=RecentPrompts(4),
            room=SimpleNamespace(make=lambda cells: None),
        )
        self.slots = SlotQueue(cast(Any, model))
        self.returned: list[int] = []
        self.let_in = 0
        let_in = self.slots._threads.submit

        def counted(*call: Any) -> Any:
            self.let_in += 1
            return let_in(*call)

        self.slots._threads.submit = counted  # type: ignore[assignment]

    def submit(
        self, name: int, seeded: bool = False, *, cells: int = 10, priority: int = 0
    ) -> Task:
        task = Task(
            fields={"prompt": [name, 1], "cache_prompt": not seeded},
            slots=1,
            cells=cells,
            first_index=0,
            priority=priority,
            is_whole=False,
            unread_tokens=2,
            receive=self._receive,
        )
        self.server.ends[name] = threading.Event()
        self.slots.submit(task)
        return task

    def _receive(self, task: Task, item: Item) -> None:
        if not isinstance(item, bytes | list | str):
            self.returned.append(task.prompt[0])

    def end(self, name: int) -> None:
        self.server.ends[name].set()

    async def until_began(self, *names: int) -> None:
        async with asyncio.timeout(60):
            while sorted(self.server.began) != sorted(names):  # noqa: ASYNC110 - threads begin
                await asyncio.sleep(0.001)


@pytest.fixture
async def site(anyio_backend: str) -> AsyncIterator[Site]:
    site = Site()
    yield site
    for ends in site.server.ends.values():
        ends.set()
    await asyncio.to_thread(site.slots.close)


async def test_a_seeded_one_waits_for_the_last_step_of_one_that_nobody_wants(site: Site) -> None:
    left = site.submit(1)
    await site.until_began(1)
    site.slots.cancel(left)
    site.submit(2, seeded=True)
    site.submit(3)
    assert site.let_in == 1
    site.end(1)
    await site.until_began(1, 2, 3)
    assert site.returned == [1]


@pytest.mark.parametrize(("is_left", "seeded"), [(False, True), (True, False)])
async def test_others_wait_for_nobody(site: Site, is_left: bool, seeded: bool) -> None:
    first = site.submit(1)
    await site.until_began(1)
    if is_left:
        site.slots.cancel(first)
    site.submit(2, seeded=seeded)
    await site.until_began(1, 2)


async def test_beside_one_that_goes_on_nothing_is_waited_for(site: Site) -> None:
    left, _ = site.submit(1), site.submit(2)
    await site.until_began(1, 2)
    site.slots.cancel(left)
    site.submit(3, seeded=True)
    await site.until_began(1, 2, 3)


async def test_what_waits_for_cells_is_told(site: Site) -> None:
    for name in (1, 2):
        site.submit(name, cells=300)
    assert site.slots.waiting_for_cache(10) == 0  # another would fit
    site.submit(3, cells=300)
    await site.until_began(1, 2, 3)
    site.submit(4, cells=300)
    assert site.slots.waiting_for_cache(4) == 1
    assert site.slots.waiting_for_cache(9) == 6  # five are on their way
    site.end(1)
    await site.until_began(1, 2, 3, 4)
    assert site.slots.waiting_for_cache(3) == 0


@pytest.mark.parametrize(
    ("priority", "most"), [(0, MOST_OVERTAKERS // UNFAIR_OVERTAKER), (1, MOST_OVERTAKERS)]
)
async def test_an_owners_only_one_is_overtaken_less_often(
    site: Site, priority: int, most: int
) -> None:
    """By those that have others here: it needs the cells of two of them."""
    site.submit(1, cells=900)
    await site.until_began(1)
    large = site.submit(2, cells=200, priority=priority)
    overtakers = 0
    for name in range(3, 100):
        let_in = site.let_in
        small = site.submit(name, cells=50, priority=50)
        if site.let_in == let_in:
            site.slots.cancel(small)
            break
        overtakers += 1
        site.end(name)
        async with asyncio.timeout(60):
            while name not in site.returned:  # noqa: ASYNC110 - threads return
                await asyncio.sleep(0.001)
    site.slots.cancel(large)
    assert overtakers == most
