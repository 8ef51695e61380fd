"""What lies on the disk: sealed by owner, bounded, gone in time, and nothing of it half."""

import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from server.memory.database import FILE_NAME
from server.memory.errors import MemoryTrouble
from server.memory.sealing import Sealer, WrongSeal, new_data_key
from server.memory.site_key import made_site_key, read_site_key
from server.refusal import CannotStart
from tests.support.memories import URL, asking, kept, memory_at, on_disk, said

SECRET = "Rjukan-Tinnsjoe-1944"


def test_nothing_on_the_disk_is_to_be_read(tmp_path: Path) -> None:
    with asking(tmp_path) as (client, _):
        first = said(client, input=SECRET, instructions=SECRET, metadata={"a": SECRET}).json()
        said(client, input=SECRET, previous_response_id=first["id"], stream=True).read()
        made = client.post(
            "/v1/conversations",
            json={"items": [{"role": "user", "content": SECRET}], "metadata": {"a": SECRET}},
        ).json()
        said(client, input=SECRET, conversation=made["id"])
        assert first["output"][0]["content"][0]["text"] == SECRET
        lying = on_disk(tmp_path)
        assert first["id"].encode() in lying
        assert SECRET.encode() not in lying
        key = base64.b64decode((tmp_path / "memory.key").read_bytes())
        assert key not in (tmp_path / FILE_NAME).read_bytes()
    for name in ("memory.key", FILE_NAME):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() not in on_disk(tmp_path)


def test_without_store_nothing_is_written(tmp_path: Path) -> None:
    with asking(tmp_path) as (client, _):
        for body in ({}, {"stream": True}):
            assert said(client, store=False, **body).status_code == 200
        assert client.get(f"{URL}/resp_x").status_code == 404
        assert said(client, previous_response_id="resp_x", store=False).status_code == 400
    assert [p.name for p in tmp_path.glob("memory*")] == []


@pytest.mark.parametrize("store", ["asked", "never"])
def test_an_operator_may_have_nothing_kept(tmp_path: Path, store: str) -> None:
    with asking(tmp_path, response_store=store) as (client, _):
        assert said(client).json()["store"] is False
        asked_for = said(client, store=True)
        if store == "asked":
            assert asked_for.json()["store"] is True
            return
        for body in (
            {"store": True},
            {"background": True},
            {"previous_response_id": "resp_x"},
            {"conversation": "conv_x"},
        ):
            answer = said(client, **body)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == next(iter(body))
            assert "nothing is kept here" in answer.json()["error"]["message"]
        for path in (f"{URL}/resp_x", "/v1/conversations/conv_x"):
            assert client.get(path).status_code == 404
    assert [p.name for p in tmp_path.glob("memory*")] == []


def test_a_site_without_a_key_keeps_nothing(tmp_path: Path) -> None:
    from server.api.memory.place import memory_of
    from server.settings import Settings

    settings = Settings(data_dir=tmp_path, ledger_url="postgresql://nobody.invalid/x")
    ledger: Any = None
    assert memory_of(settings, ledger) is None


def test_no_row_stands_in_anothers_place(tmp_path: Path) -> None:
    memory = memory_at(tmp_path)
    memory.keep(kept("resp_a", turn=b'"a"'), (), (), ())
    memory.keep(kept("resp_b", turn=b'"b"'), (), (), ())
    swap = "UPDATE memory_responses SET turn = (SELECT turn FROM memory_responses WHERE response_id = 'resp_b') WHERE response_id = 'resp_a'"  # noqa: E501
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(swap)
        connection.commit()
    with pytest.raises(MemoryTrouble):
        memory.responses.find("resp_a", "acme")
    assert memory.responses.find("resp_b", "acme").turn.input
    give_away = "UPDATE memory_responses SET owner = 'thief' WHERE response_id = 'resp_b'"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(give_away)
        connection.commit()
    memory.keep(kept("resp_c", owner="thief"), (), (), ())
    with pytest.raises(MemoryTrouble):
        memory.responses.find("resp_b", "thief")


def test_a_seal_holds_every_bit_and_its_place() -> None:
    sealer, other = Sealer(new_data_key()), Sealer(new_data_key())
    sealed = sealer.seal(b"x" * 100, "head", "acme", "1")
    assert sealer.open(sealed, "head", "acme", "1") == b"x" * 100
    for place in (("head", "acme", "2"), ("head", "acme1", ""), ("turn", "acme", "1")):
        with pytest.raises(WrongSeal):
            sealer.open(sealed, *place)
    with pytest.raises(WrongSeal):
        other.open(sealed, "head", "acme", "1")
    for at in range(len(sealed)):
        broken = bytearray(sealed)
        broken[at] ^= 1
        with pytest.raises(WrongSeal):
            sealer.open(bytes(broken), "head", "acme", "1")
    assert len({sealer.seal(b"", "head", "acme", "1") for _ in range(100)}) == 100


def test_another_key_is_refused_at_the_start(tmp_path: Path) -> None:
    memory_at(tmp_path).keep(kept("resp_a"), (), (), ())
    key, elsewhere = tmp_path / "memory.key", tmp_path / "kept.key"
    key.rename(elsewhere)
    with pytest.raises(CannotStart, match="cannot be read"):
        memory_at(tmp_path).check()
    made_site_key(key)
    with pytest.raises(CannotStart, match="sealed with another key"):
        memory_at(tmp_path).check()
    with pytest.raises(MemoryTrouble):
        memory_at(tmp_path).keep(kept("resp_b"), (), (), ())
    memory_at(tmp_path, key=elsewhere).check()
    assert memory_at(tmp_path, key=elsewhere).responses.find("resp_a", "acme")


@pytest.mark.parametrize("text", [b"", b"x", b"x" * 44, base64.b64encode(b"x" * 31), b"\xff" * 50])
def test_what_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "k").write_bytes(text)
    with pytest.raises(CannotStart, match="32 bytes in base64"):
        read_site_key(tmp_path / "k")
    with pytest.raises(CannotStart, match="cannot be read"):
        read_site_key(tmp_path / "nowhere")
