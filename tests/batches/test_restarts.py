"""A server that starts finds a batch in any state, with results whose records may be owed."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from server.batches.batch_run import FOLDER
from server.batches.database import BatchDatabase
from server.batches.outputs import answer_text
from server.batches.results import LineResult, Results
from server.batches.store import Batch, BatchStore
from server.ledger.records import UsageRecord
from tests.support.batches import CHAT, chat_line, is_over, lines_of, made_batch, upload
from tests.support.serving import Served, read_records, scripted, serving, wait_until

LINES = 6
DONE = 3
"""Lines with a result; the record of the first is in the ledger already."""


def record(batch: Batch, number: int) -> UsageRecord:
    return UsageRecord(
        record_id=f"{batch.batch_id}-{number}",
        key_id=batch.key_id,
        owner=batch.owner,
        alias="mixtral-8x7b",
        weights="w",
        revision=None,
        endpoint="batch-chat",
        stream=False,
        started_at=time.time(),
        end="ok",
        prompt_tokens=10,
        price_input=1_000_000,
        amount=10,
        node="test",
    )


async def leave_behind(data_dir: Path, batch: Batch) -> None:
    """What a crash leaves of a batch."""
    results = Results(data_dir / FOLDER / f"{batch.batch_id}.sqlite3")
    results.open()
    for number in range(1, DONE + 1):
        text = answer_text(
            batch, number, f"line-{number}", 200, f"{batch.batch_id}-{number}", b"{}"
        )
        owed = record(batch, number)
        await results.add(LineResult(line=number, is_error=False, record=owed, text=text))
    results.close()
    folder = data_dir / "files"
    (folder / "file-000000000000000000000000").write_bytes(b"renamed, and never known")
    (folder / "file-111111111111111111111111.part").write_bytes(b"half")
    (data_dir / FOLDER / "batch_0123.sqlite3").write_bytes(b"of one that is over")


def crashed(data_dir: Path, **state: Any) -> Batch:
    with serving(data_dir) as server, client_of(server) as client:
        file_id = upload(
            client, [chat_line(i + 1, "x", model="mixtral-8x7b") for i in range(LINES)]
        )
        caller = server.services.ring.find(server.key)
    now = int(time.time())
    batch = Batch(
        batch_id="batch_" + "ab" * 12,
        owner=caller.owner,
        key_id=caller.key_id,
        endpoint=CHAT,
        input_file_id=file_id,
        completion_window="24h",
        created_at=now,
        expires_at=now + 86_400,
        model="mixtral-8x7b",
        total=LINES,
    )
    batch = replace(batch, **state)
    database = BatchDatabase(data_dir)
    store = BatchStore(database)
    assert store.add(batch, 100)
    database.close()
    if batch.status != "validating":
        asyncio.run(leave_behind(data_dir, batch))
    return batch


def client_of(server: Served) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers=server.headers, timeout=60)


@pytest.mark.parametrize(
    ("state", "status", "completed", "failed"),
    [
        ({"status": "validating"}, "completed", LINES, 0),
        ({"status": "in_progress"}, "completed", LINES, 0),
        ({"status": "in_progress", "expires_at": 1}, "expired", DONE, LINES - DONE),
        ({"status": "cancelling", "ending": "cancelled"}, "cancelled", DONE, LINES - DONE),
        ({"status": "finalizing", "ending": "expired"}, "expired", DONE, LINES - DONE),
        ({"status": "finalizing", "ending": "failed"}, "failed", DONE, LINES - DONE),
    ],
    ids=lambda x: "-".join(map(str, x.values())) if isinstance(x, dict) else str(x),
)
def test_a_start_goes_on_from_any_state(
    tmp_path: Path, state: dict[str, Any], status: str, completed: int, failed: int
) -> None:
    batch = crashed(tmp_path, **state)
    with serving(tmp_path) as server, client_of(server) as client:
        done = is_over(client, batch.batch_id)
        assert done["status"] == status
        counts = {"total": LINES, "completed": completed, "failed": failed}
        assert done["request_counts"] == counts
        assert done[f"{status}_at"] is not None
        answers = lines_of(client, done["output_file_id"])
        assert len({a["custom_id"] for a in answers}) == len(answers) == completed
        if failed:
            errors = lines_of(client, done["error_file_id"])
            codes = {e["error"]["code"] for e in errors}
            assert codes == {f"batch_{status}"}
            assert {e["custom_id"] for e in errors}.isdisjoint(a["custom_id"] for a in answers)
    ids = [r["record_id"] for r in read_records(tmp_path)]
    ran = range(1, (LINES if status == "completed" else DONE) + 1)
    assert sorted(ids) == [f"{batch.batch_id}-{n}" for n in ran]
    known = {done["input_file_id"], done["output_file_id"], done["error_file_id"]}
    assert {path.name for path in (tmp_path / "files").iterdir()} <= known
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_graceful_restart_asks_what_was_not_answered(tmp_path: Path) -> None:
    slow = scripted("m", text="a b c d", token_delay_s=0.02)
    with serving(tmp_path, slow) as server, client_of(server) as client:
        batch_id = made_batch(client, [chat_line(i, "x") for i in range(300)])["id"]
        path = f"/v1/batches/{batch_id}"
        wait_until(lambda: client.get(path).json()["request_counts"]["completed"] > 20, "begun")
    with serving(tmp_path, slow) as server, client_of(server) as client:
        done = is_over(client, batch_id)
        assert done["request_counts"] == {"total": 300, "completed": 300, "failed": 0}
        assert len(lines_of(client, done["output_file_id"])) == 300
    assert len({r["record_id"] for r in read_records(tmp_path)}) == 300
    assert len(read_records(tmp_path)) == 300


@pytest.mark.anyio
async def test_a_full_disk_keeps_a_result_waiting(tmp_path: Path) -> None:
    results = Results(tmp_path / "batches" / "b.sqlite3")
    results.open()
    pages = results._connection.execute("PRAGMA page_count").fetchone()[0]
    results._connection.execute(f"PRAGMA max_page_count = {pages}")
    now = int(time.time())
    batch = Batch(
        batch_id="batch_1",
        owner="o",
        key_id="k",
        endpoint=CHAT,
        input_file_id="file-1",
        completion_window="24h",
        created_at=now,
        expires_at=now,
    )
    big = LineResult(line=1, is_error=False, record=record(batch, 1), text=b"x" * 100_000)
    adding = asyncio.ensure_future(results.add(big))
    done, _ = await asyncio.wait([adding], timeout=0.5)
    assert not done
    results._connection.execute("PRAGMA max_page_count = 100000")
    await asyncio.wait_for(adding, 30)
    assert [line for line, _, _ in results.in_order()] == [1]
    results.remove()
    assert list((tmp_path / "batches").iterdir()) == []


def test_a_long_drain_ends_no_batch(tmp_path: Path) -> None:
    slow = scripted("m", text="a b c d", token_delay_s=0.02)
    with serving(tmp_path, slow) as server, client_of(server) as client:
        batch_id = made_batch(client, [chat_line(i, "x") for i in range(60)])["id"]
        path = f"/v1/batches/{batch_id}"
        wait_until(lambda: client.get(path).json()["request_counts"]["completed"] > 4, "begun")
        supervisor = server.services.supervisor
        supervisor.draining = True
        wait_until(lambda: not sum(supervisor.requests().values()), "its lines have ended")
        for _ in range(20):  # whatever it does next, it does at once
            seen = client.get(path).json()
            assert (seen["status"], seen["output_file_id"]) == ("in_progress", None)
        assert seen["request_counts"]["completed"] < 60
    with serving(tmp_path, slow) as server, client_of(server) as client:
        done = is_over(client, batch_id)
        assert done["request_counts"] == {"total": 60, "completed": 60, "failed": 0}
    assert len(read_records(tmp_path)) == 60
