"""What is kept has a size and a time, and is gone with its owner; nothing of it half."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from server.api.memory.place import days_of
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key
from server.memory import background
from server.memory.database import FILE_NAME
from server.memory.errors import MemoryTrouble, NotKept, TooLong
from server.memory.response_rows import (
    MOST_CONTEXT_BYTES,
    MOST_TURNS,
)
from server.memory.site_key import made_site_key
from server.memory.sweeping import GRACE_S, gone_owners
from server.refusal import CannotStart
from tests.support.memories import URL, asking, kept, memory_at, said


def test_an_owners_bytes_are_bounded_and_counted_exactly(tmp_path: Path) -> None:
    with asking(tmp_path, memory_gb=2e-5) as (client, served):
        ids = []
        noise = {"store": True, "input": os.urandom(1500).hex()}
        while (answer := said(client, **noise)).status_code == 200:
            ids.append(answer.json()["id"])
        assert 2 < len(ids) < 20
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (413, "REQUEST_TOO_LARGE")
        assert "store: false" in error["message"]
        assert said(client, store=False).status_code == 200
        other = httpx.post(
            served.url + URL,
            json={"model": "m", "input": "Hi"},
            headers={"X-API-Key": served.new_key(owner="others")},
        )
        assert other.status_code == 200
        for response_id in ids:
            assert client.delete(f"{URL}/{response_id}").status_code == 200
        assert counted(tmp_path)["tests"] == 0
        assert said(client).status_code == 200


def counted(data_dir: Path) -> dict[str, int]:
    with closing(sqlite3.connect(data_dir / FILE_NAME)) as connection:
        return dict(connection.execute("SELECT owner, bytes FROM memory_owners").fetchall())


def test_a_stream_whose_end_has_no_room_has_failed(tmp_path: Path) -> None:
    """It is told in the stream, in its order, and nothing of it is kept."""
    from tests.support.responses import events

    with asking(tmp_path, memory_gb=2e-6) as (client, _):
        noise = os.urandom(3000).hex()
        told = events(said(client, input=noise, stream=True, store=True))
        assert [e["type"] for e in told[-3:]] == [
            "response.output_item.done",
            "error",
            "response.failed",
        ]
        assert client.get(f"{URL}/{told[0]['response']['id']}").status_code == 404
        whole = said(client, input=noise, store=True)
        assert whole.status_code == 413
        assert said(client, input=noise).json()["store"] is True  # there was room at its beginning
        assert said(client).json()["store"] is False
        assert said(client, store=True).status_code == 413
    assert counted(tmp_path).get("tests", 0) < 10_000


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_nobody_asked_to_keep_is_answered_on_a_disk_that_takes_nothing(
    tmp_path: Path, is_stream: bool
) -> None:
    from tests.support.responses import events

    with asking(tmp_path) as (client, served):
        assert said(client).json()["store"] is True
        memory = served.services.memory
        assert memory is not None
        with memory.vault.transaction() as database:
            pages = database.query("PRAGMA page_count")[0][0]
            database.query(f"PRAGMA max_page_count = {pages}")
        noise = os.urandom(50_000).hex()
        answer = said(client, input=noise, stream=is_stream)
        told = events(answer)[-1]["response"] if is_stream else answer.json()
        assert (told["status"], told["store"]) == ("completed", False)
        assert client.get(f"{URL}/{told['id']}").status_code == 404
        assert said(client, input=noise, store=True).status_code == 503


def test_a_memory_that_is_away_is_not_waited_for_each_time(tmp_path: Path) -> None:
    made_site_key(tmp_path / "key")
    url = "postgresql://nobody@127.0.0.1:1/x"
    memory = memory_at(tmp_path, url=url, key=tmp_path / "key")
    assert memory.has_room("acme") is False
    began = time.monotonic()
    assert not any(memory.has_room("acme") for _ in range(100))
    assert time.monotonic() - began < 1
    memory.vault.database.close()


def test_what_is_past_its_time_is_gone_with_its_owners_key(tmp_path: Path) -> None:
    memory = memory_at(tmp_path, days_of={"brief": 1e-9})
    memory.keep(kept("resp_a", owner="brief", days=0.0), (), (), ())
    memory.keep(kept("resp_b", owner="acme"), (), (), ())
    with pytest.raises(NotKept):
        memory.responses.find("resp_a", "brief")
    memory.look_after()
    assert set(counted(tmp_path)) == {"acme"}
    assert memory.responses.find("resp_b", "acme")
    assert memory.responses.owners.expiry("brief") <= time.time() + 1
    assert memory.responses.owners.expiry("acme") > time.time() + 29 * 86_400


def test_a_forgotten_owner_leaves_no_byte(tmp_path: Path) -> None:
    memory = memory_at(tmp_path)
    for i in range(250):
        memory.keep(kept(f"resp_{i}", owner="gone"), (), (), ())
    memory.keep(kept("resp_x", owner="acme"), (), (), ())
    assert memory.forget("gone") == 250
    assert memory.forget("gone") == 0
    memory.vault.database.close()
    assert b"gone" not in (tmp_path / FILE_NAME).read_bytes()
    assert (tmp_path / FILE_NAME).stat().st_size < 200_000
    assert memory.responses.find("resp_x", "acme")


def test_an_owner_is_gone_a_day_after_its_last_key() -> None:
    now = time.time()
    ago = now - GRACE_S

    def key(owner: str, **fields: float) -> Key:
        return Key(key_id="k", name="n", owner=owner, **fields)  # type: ignore[arg-type]

    keys = [
        key("revoked", revoked_at=ago - 1),
        key("expired", expires_at=ago - 1),
        key("expired", revoked_at=ago - 9),
        key("just", revoked_at=ago + 5),
        key("half", revoked_at=ago - 1),
        key("half"),
        key("active"),
        key("later", expires_at=now + 5),
    ]
    assert gone_owners(keys, now) == {"revoked", "expired"}


def test_a_revoked_owners_memory_is_destroyed(tmp_path: Path) -> None:
    with asking(tmp_path) as (client, served):
        response = said(client).json()
        memory = served.services.memory
        assert memory is not None
        with closing(served.services.ledger.open_books()) as books:
            store = KeyStore(books)
            for each in store.list():
                store.save(_revoked(each))
        memory.look_after()
        assert counted(tmp_path) == {}
        with pytest.raises(NotKept):
            memory.responses.find(response["id"], "tests")


def _revoked(key: Key) -> Key:
    from dataclasses import replace as changed

    return changed(key, revoked_at=time.time() - GRACE_S - 1)


def test_a_chain_is_bounded(tmp_path: Path) -> None:
    memory = memory_at(tmp_path)
    memory.keep(replace(kept("resp_a"), depth=MOST_TURNS + 1), (), (), ())
    memory.keep(replace(kept("resp_b"), context_bytes=MOST_CONTEXT_BYTES + 1), (), (), ())
    for response_id in ("resp_a", "resp_b"):
        with pytest.raises(TooLong):
            memory.responses.chain(response_id, "acme")


def test_a_process_that_says_nothing_has_lost_its_responses(tmp_path: Path) -> None:
    one = memory_at(tmp_path, node="a/1")
    one.background.claim(kept("resp_a", status="queued"), b"event: x\ndata: {}\n\n")
    other = memory_at(tmp_path, node="b/2")
    assert other.background.end_lost() == 0
    stale = f"UPDATE memory_responses SET beat_at = beat_at - {background.LOST_S + 1}"
    with one.vault.transaction() as database:
        database.execute(stale)
    assert other.background.end_lost() == 1
    found = other.responses.find("resp_a", "acme")
    assert found.status == "failed"
    told = other.responses.events_from("resp_a", "acme", 0)
    assert told.startswith(b"event: x\ndata: {}\n\nevent: response.failed\n")
    assert b'"sequence_number":1' in other.responses.events_from("resp_a", "acme", 1)
    assert other.responses.events_from("resp_a", "acme", 2) == b""
    assert other.background.lost == 1
    # the one that was lost comes back, and changes nothing
    assert one.background.add("acme", "resp_a", (), is_running=True) is False
    with pytest.raises(NotKept):
        one.keep(replace(found, status="completed"), (), (), ())
    assert other.responses.find("resp_a", "acme").status == "failed"
    again = memory_at(tmp_path, node="a/3")
    again.background.claim(kept("resp_b", status="queued"), b"")
    assert memory_at(tmp_path, node="a/4").background.end_lost() == 1


def test_nothing_is_kept_half(tmp_path: Path) -> None:
    """A disk that takes no more: an error, and neither the response nor its turn is there."""
    memory = memory_at(tmp_path)
    memory.keep(kept("resp_a"), (), (), ())
    with memory.vault.transaction() as database:
        pages = database.query("PRAGMA page_count")[0][0]
        database.query(f"PRAGMA max_page_count = {pages + 4}")
    big = os.urandom(60_000).hex().encode()
    noise = replace(kept("resp_b", conversation_id=None), head=big)
    with pytest.raises(MemoryTrouble):
        memory.keep(noise, (), ["msg_1"], ())
    before = counted(tmp_path)
    with pytest.raises(NotKept):
        memory.responses.find("resp_b", "acme")
    with pytest.raises(NotKept):
        memory.responses.response_of("msg_1", "acme")
    assert counted(tmp_path) == before
    assert memory.responses.find("resp_a", "acme")


@pytest.mark.parametrize("given", ["acme", "=3", "acme=", "acme=0", "acme=-1", "acme=x", "a=nan"])
def test_days_that_are_none_are_refused(given: str) -> None:
    with pytest.raises(CannotStart, match="OWNER=DAYS"):
        days_of([given])
    assert days_of(["acme=7", "a=b=0.5"]) == {"acme": 7.0, "a=b": 0.5}
