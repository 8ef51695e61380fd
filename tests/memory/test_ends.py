"""The end of a response in the background, where what it said cannot be kept at once, or at all."""

import random
from pathlib import Path
from typing import Any

import httpx

from server.memory.errors import MemoryTrouble
from tests.support.responses import events
from tests.support.serving import read_records, scripted, serving, wait_until

URL = "/v1/responses"
BACKGROUND = {"model": "m", "input": "Hi you", "background": True}


def unlike(words: int) -> str:
    """What cannot be packed."""
    chance = random.Random(1)
    return " ".join(f"{chance.getrandbits(32):08x}" for _ in range(words))


def at_its_end(client: httpx.Client, response: dict[str, Any]) -> dict[str, Any]:
    def now() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"{URL}/{response['id']}").json()
        return found

    wait_until(lambda: now()["status"] not in ("queued", "in_progress"), "it ends", 20)
    return now()


def test_one_that_has_no_room_has_failed_and_says_why(tmp_path: Path) -> None:
    model = scripted("m", text=unlike(1500))
    with (
        serving(tmp_path, model, settings={"memory_gb": 0.000005}) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client,
    ):
        done = at_its_end(client, client.post(URL, json=BACKGROUND).json())
        assert done["status"] == "failed"
        assert "GB together; delete some" in done["error"]["message"]
        last = events(client.get(f"{URL}/{done['id']}", params={"stream": "true"}))[-1]
        assert (last["type"], last["response"]) == ("response.failed", done)
    assert [(r["end"], r["completion_tokens"]) for r in read_records(tmp_path)] == [("ok", 1501)]


def test_a_database_that_is_away_for_a_moment_costs_nothing(tmp_path: Path) -> None:
    with (
        serving(tmp_path, scripted("m")) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client,
    ):
        memory = served.services.memory
        assert memory is not None
        keep, refused = memory.keep, 0

        def away_at_first(kept: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal refused
            if kept.status == "completed" and refused < 2:
                refused += 1
                raise MemoryTrouble("it is away")
            return keep(kept, *args, **kwargs)

        memory.keep = away_at_first  # type: ignore[method-assign]
        done = at_its_end(client, client.post(URL, json=BACKGROUND).json())
        assert (done["status"], refused) == ("completed", 2)
        told = events(client.get(f"{URL}/{done['id']}", params={"stream": "true"}))
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        assert told[-1]["response"] == done
