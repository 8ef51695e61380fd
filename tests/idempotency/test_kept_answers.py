"""Answers that were kept for a key: over a restart, a full disk, their bounds and their day."""

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.idempotency import recording
from server.idempotency.entry import Entry
from server.idempotency.secret import site_secret
from server.idempotency.store import FILE_NAME, KeptAnswers
from tests.support.keyed import CHAT, REPLAYED, SLOW, both_ways, chat, records
from tests.support.serving import Served, scripted, serving
from tests.support.wire_checks import assert_error


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, scripted("m"), scripted("slow", **SLOW)) as server:
        yield server


def asked(server: Served, key: str = "k", **fields: Any) -> httpx.Response:
    headers = {**server.headers, "Idempotency-Key": key}
    return httpx.post(server.url + CHAT, json=chat(**fields), headers=headers)


def test_many_first_keys_at_once_share_one_secret(alone: Served) -> None:
    names = [f"k{i}" for i in range(16)]
    with ThreadPoolExecutor(16) as pool:
        first = list(pool.map(lambda name: asked(alone, key=name).content, names))
    assert [asked(alone, key=name).content for name in names] == first


def test_answers_outlive_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m")) as server:
        first, api_key = asked(server, stream=True), server.key
    with serving(tmp_path, scripted("m")) as server:
        headers = {"X-API-Key": api_key, "Idempotency-Key": "k"}
        again = httpx.post(server.url + CHAT, json=chat(True), headers=headers)
        assert again.content == first.content
        assert len(records(server)) == 1


def test_a_disk_that_does_not_take_the_key_refuses_it(
    alone: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(alone.services.keyed._store, "claimed", full)
    refused = asked(alone)
    assert_error(refused, 503, "OVERLOADED")
    assert refused.headers["retry-after"]
    monkeypatch.undo()
    assert asked(alone).status_code == 200


@both_ways
def test_an_answer_that_cannot_be_kept_is_never_billed_again(
    alone: Served, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(alone.services.keyed._store, "keep", full)
    assert asked(alone, stream=stream).status_code == 200
    monkeypatch.undo()
    lost = asked(alone, stream=stream)
    assert_error(lost, 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
    assert lost.headers["x-should-retry"] == "false"
    assert len(records(alone)) == 1
    assert_error(
        asked(alone, stream=stream, seed=3), 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key"
    )


def test_where_there_is_no_room_the_charge_is_still_one(tmp_path: Path) -> None:
    with serving(tmp_path, scripted("m"), settings={"kept_answers_gb": 1e-7}) as server:
        assert asked(server).status_code == 200
        assert_error(asked(server), 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")
        assert len(records(server)) == 1


def test_an_owner_has_so_many_keys_a_day(alone: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone.services.keyed._store, "_most_keys", 2)
    assert [asked(alone, key=name).status_code for name in "abab"] == [200] * 4
    assert_error(asked(alone, key="c"), 429, "RATE_LIMIT_EXCEEDED")


def test_a_long_answer_is_sent_and_not_kept(alone: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES", 2000)
    monkeypatch.setattr(recording, "AHEAD", 2)
    first = asked(alone, model="slow", stream=True)
    assert re.findall(r"word(\d+)", first.text) == [str(i) for i in range(40)]
    assert first.content.endswith(b"data: [DONE]\n\n")
    assert_error(
        asked(alone, model="slow", stream=True), 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key"
    )
    assert len(records(alone)) == 1


def test_what_was_sealed_for_another_entry_is_no_answer(alone: Served) -> None:
    asked(alone, key="a")
    asked(alone, key="b")
    with sqlite3.connect(alone.data_dir / FILE_NAME) as connection:
        answers = connection.execute("SELECT entry_id, answer FROM entries").fetchall()
        for (entry, _), (_, answer) in zip(answers, reversed(answers), strict=True):
            connection.execute("UPDATE entries SET answer = ? WHERE entry_id = ?", (answer, entry))
    connection.close()
    assert_error(asked(alone, key="a"), 409, "IDEMPOTENCY_ANSWER_LOST", "Idempotency-Key")


def test_old_answers_are_removed(alone: Served) -> None:
    asked(alone)
    alone.services.keyed._store.expire(time.time() + 86_000)
    assert asked(alone).headers[REPLAYED]
    alone.services.keyed._store.expire(time.time() + 86_500)
    with sqlite3.connect(alone.data_dir / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (0,)
    connection.close()


def test_what_is_forgotten_is_on_no_disk(tmp_path: Path) -> None:
    store, secret = KeptAnswers(tmp_path, 10**6), site_secret(tmp_path)
    owner, entry_id = secret.name_of("acme"), secret.name_of("acme", "/v1", "key")
    entry = Entry(entry_id=entry_id, owner=owner, print=b"p" * 32, record_id="r", began=1.0)
    store.claimed(entry)
    sealed = secret.seal(b"an answer" * 50, entry_id)
    assert store.keep(entry, sealed)
    on_disk = [path.read_bytes() for path in tmp_path.glob("idempotency.sqlite3*")]
    assert any(sealed[:32] in each for each in on_disk)
    assert store.forget_answers(owner) == 1
    on_disk = [path.read_bytes() for path in tmp_path.glob("idempotency.sqlite3*")]
    assert not any(sealed[:32] in each for each in on_disk)
    store.close()
