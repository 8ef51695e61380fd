"""Room in llama.cpp's cache for a prompt with pictures: made before, and again where others took
it."""

from typing import Any, cast

import msgspec
import pytest

from engines.base import EngineError, EngineOverloaded
from engines.content import Picture
from engines.llamacpp.cache_room import CacheRoom
from engines.llamacpp.http_client import Slot
from engines.llamacpp.pictures import PicturePrompt
from engines.llamacpp.prompt_calls import EVERY_CELL, Means, OnChunk, PromptCalls
from engines.llamacpp.recent_prompts import RecentPrompts
from engines.llamacpp.task import Item, Task
from engines.llamacpp.token_reader import TakesRest
from engines.llamacpp.wire import DECODER
from tests.support.pictures import picture

BEGUN = b'{"prompt_progress":{"total":3,"cache":0,"processed":0}}'
NO_ROOM = b'{"error":{"code":500,"message":"failed to process mtmd chunk","type":"server_error"}}'
TOKEN = b'{"content":"a","tokens":[1],"tokens_predicted":1}'
END = b'{"content":"","stop":true,"stop_type":"limit","tokens_predicted":1}'


class Slots:
    """llama.cpp's listener. Of those that are busy the first became so a moment ago."""

    def __init__(self, *slots: Slot) -> None:
        self.held = {slot.id: slot for slot in slots}
        self.forgotten: list[int] = []

    def slots(self) -> list[Slot]:
        return list(self.held.values())

    def forget(self, slot: int) -> None:
        self.forgotten.append(slot)
        if slot == 3:
            raise EngineOverloaded("busy")


def slot(id: int, tokens: int, task: int, is_busy: bool = False) -> Slot:
    return Slot(id=id, is_busy=is_busy, tokens=tokens, task=task)


@pytest.mark.parametrize(
    ("cells", "forgotten"), [(100, []), (101, [2]), (300, [2]), (301, [2, 0]), (EVERY_CELL, [2, 0])]
)
def test_what_stands_longest_goes_first_and_no_more_than_is_needed(
    cells: int, forgotten: list[int]
) -> None:
    http = Slots(slot(0, 100, 7), slot(1, 600, 9, True), slot(2, 200, 3), slot(4, 0, 1))
    CacheRoom(cast(Any, http), 1000).make(cells)
    assert http.forgotten == forgotten


def test_one_that_became_busy_meanwhile_stops_nobody() -> None:
    http = Slots(slot(3, 500, 1), slot(2, 500, 2))
    CacheRoom(cast(Any, http), 1000).make(1000)
    assert http.forgotten == [3, 2]


def test_a_cache_that_is_not_shared_is_left_alone() -> None:
    import sys

    http = Slots(slot(0, 500, 1))
    CacheRoom(cast(Any, http), sys.maxsize).make(10_000)
    assert http.forgotten == []


class Site:
    """Calls of one task with a picture, the first `refusals` of which find no room for it."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.sent: list[dict[str, Any]] = []
        self.rooms: list[int] = []
        self.put: list[Item] = []
        shown = PicturePrompt("a<mark>b", (Picture(picture(), 32, 20),), (97, -5, 98))
        fields = {"prompt": [97, -1, 98], "cache_prompt": True}
        task = Task(
            fields=fields,
            pictures=shown,
            slots=1,
            cells=30,
            first_index=0,
            priority=0,
            is_whole=False,
            unread_tokens=3,
        )
        means = Means(
            complete=self._complete,
            find_slot=lambda seed: None,
            submit=lambda call: None,
            put=lambda task, item: self.put.append(item),
            follow=lambda followed: None,
            piece_tokens=lambda: 1,
            step_tokens=1,
            recent=RecentPrompts(1),
            make_room=self.rooms.append,
        )
        PromptCalls(task, means).run_next()

    def _complete(self, payload: bytes, on_chunk: OnChunk, takes_rest: TakesRest) -> None:
        self.sent.append(msgspec.json.decode(payload))
        is_refused = len(self.sent) <= self.refusals
        for chunk in (BEGUN, NO_ROOM) if is_refused else (BEGUN, TOKEN, END):
            if on_chunk(chunk):
                return


def test_a_prompt_with_pictures_goes_whole() -> None:
    site = Site(refusals=0)
    [sent] = site.sent
    assert sent["prompt"]["prompt_string"] == "a<mark>b"
    assert len(sent["prompt"]["multimodal_data"]) == 1
    assert site.rooms == [30]
    assert site.put == ["read", *map(DECODER.decode, (TOKEN, END)), None]


def test_what_finds_no_room_begins_again_with_all_of_it() -> None:
    site = Site(refusals=2)
    assert len(site.sent) == 3
    assert site.rooms == [30, EVERY_CELL, EVERY_CELL]
    assert site.put == ["read", *map(DECODER.decode, (TOKEN, END)), None], "nothing of the tries"


def test_what_never_finds_room_ends_the_request_alone() -> None:
    site = Site(refusals=100)
    assert len(site.sent) == 4
    [end] = site.put
    assert type(end) is EngineError
