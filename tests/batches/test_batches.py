"""A batch over HTTP: made, answered and recorded once a line, its files in OpenAI's form."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.ledger import sqlite
from server.ledger.allowance import Budget
from server.ledger.database import SqliteDatabase
from server.ledger.key_store import KeyStore
from tests.support.batches import chat_line, is_over, lines_of, made_batch, upload
from tests.support.serving import Served, read_records, scripted, server_of, wait_until

served = server_of(
    scripted("m"),
    scripted("other"),
    scripted("slow", text="a " * 4000, token_delay_s=0.02),
    scripted("vectors", task="embed"),
)


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as made:
        yield made


def finished(client: httpx.Client, batch: dict[str, Any]) -> dict[str, Any]:
    return is_over(client, batch["id"])


def records_of(served: Served, batch: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in read_records(served.data_dir) if r["record_id"].startswith(batch["id"])]


def test_each_line_is_answered_and_recorded_once(client: httpx.Client, served: Served) -> None:
    batch = made_batch(client, [chat_line(i, f"hei {i}") for i in range(20)])
    assert (batch["status"], batch["object"]) == ("validating", "batch")
    batch = finished(client, batch)
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert batch["error_file_id"] is None
    answers = lines_of(client, batch["output_file_id"])
    assert [a["custom_id"] for a in answers] == [f"line-{i}" for i in range(20)]
    for i, answer in enumerate(answers):
        assert set(answer) == {"id", "custom_id", "response", "error"}
        assert answer["error"] is None
        response = answer["response"]
        assert set(response) == {"status_code", "request_id", "body"}
        assert response["status_code"] == 200
        assert response["body"]["choices"][0]["message"]["content"] == f"hei {i}"
    records = records_of(served, batch)
    assert {r["record_id"] for r in records} == {a["response"]["request_id"] for a in answers}
    assert {(r["endpoint"], r["end"], r["stream"]) for r in records} == {("batch-chat", "ok", 0)}
    for answer in answers:
        record = next(r for r in records if r["record_id"] == answer["response"]["request_id"])
        usage = answer["response"]["body"]["usage"]
        assert record["prompt_tokens"] == usage["prompt_tokens"]
        assert record["completion_tokens"] == usage["completion_tokens"]
        assert record["amount"] > 0


def test_what_is_wrong_with_a_body_is_its_own_lines_error(
    client: httpx.Client, served: Served
) -> None:
    lines = [chat_line(1, "hei"), chat_line(2, "hei", temperature=9), chat_line(3, "hei")]
    batch = finished(client, made_batch(client, lines))
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    [error] = lines_of(client, batch["error_file_id"])
    assert error["custom_id"] == "line-2"
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"]["param"] == "temperature"
    assert sorted(r["end"] for r in records_of(served, batch)) == ["ok", "ok", "rejected"]


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/completions", {"model": "m", "prompt": "a b"}, "text_completion"),
        ("/v1/responses", {"model": "m", "input": "a b"}, "response"),
        ("/v1/embeddings", {"model": "vectors", "input": "a b"}, "list"),
    ],
)
def test_every_endpoint(
    client: httpx.Client, endpoint: str, body: dict[str, Any], kind: str
) -> None:
    line = {"custom_id": "x", "method": "POST", "url": endpoint, "body": body}
    batch = finished(client, made_batch(client, [line], endpoint=endpoint))
    [answer] = lines_of(client, batch["output_file_id"])
    assert answer["response"]["body"]["object"] == kind


def line(**changes: Any) -> bytes:
    return json.dumps(chat_line(7, "x") | changes).encode()


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        (b"", "empty_file", None),
        (b"\n\r\n  \n", "empty_file", None),
        (b"{}\n", "missing_required_parameter", 1),
        (line() + b"\n\n" + line(), "duplicate_custom_id", 3),
        (line() + b"\r\nno json\r\n", "invalid_json_line", 2),
        (line() + b"\n\xff\xfe\n", "invalid_json_line", 2),
        (b'{"a":' * 100_000, "invalid_json_line", 1),
        (line(body={"model": "m", "x": "y" * (9 * 2**20)}), "line_too_long", 1),
        (line(custom_id=""), "invalid_custom_id", 1),
        (line(custom_id="x" * 513), "invalid_custom_id", 1),
        (line(custom_id=5), "missing_required_parameter", 1),
        (line(method="GET"), "invalid_method", 1),
        (line(url="/v1/embeddings"), "mismatched_endpoint", 1),
        (line(body=[]), "missing_required_parameter", 1),
        (line(body={}), "missing_required_parameter", 1),
        (line(body={"model": "m", "stream": True}), "invalid_request", 1),
        (line() + b"\n" + line(custom_id="b", body={"model": "n"}), "mismatched_model", 2),
        (line(body={"model": "nobody"}), "model_not_found", None),
        (line(body={"model": "vectors"}), "model_not_found", None),
    ],
)
def test_a_file_with_a_wrong_line_is_refused_with_its_number(
    client: httpx.Client, text: bytes, code: str, at: int | None
) -> None:
    batch = finished(client, made_batch(client, text))
    assert batch["status"] == "failed"
    assert batch["failed_at"] is not None
    [error] = batch["errors"]["data"]
    assert (error["code"], error["line"]) == (code, at)
    assert len(error["message"]) < 400
    assert batch["output_file_id"] is batch["error_file_id"] is None


def test_errors_are_bounded(client: httpx.Client) -> None:
    batch = finished(client, made_batch(client, b"{}\n" * 5000))
    assert len(batch["errors"]["data"]) == 100


def test_a_byte_order_mark_and_crlf_are_taken(client: httpx.Client) -> None:
    text = b"\xef\xbb\xbf" + b"\r\n".join(line(custom_id=f"ø{i}") for i in range(3))
    batch = finished(client, made_batch(client, text))
    assert batch["request_counts"]["completed"] == 3


def test_cancel_cuts_bills_and_keeps(client: httpx.Client, served: Served) -> None:
    lines = [chat_line(i, "go", model="slow", max_tokens=4000) for i in range(40)]
    before = sum(e.generated_tokens for e in served.engines)
    batch = made_batch(client, lines)
    wait_until(
        lambda: sum(e.generated_tokens for e in served.engines) >= before + 320,
        "every line that runs has tokens",
    )
    cancelled = client.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert cancelled["status"] == "cancelling"
    batch = finished(client, batch)
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] >= batch["cancelling_at"] >= batch["created_at"]
    assert batch["request_counts"] == {"total": 40, "completed": 0, "failed": 40}
    errors = lines_of(client, batch["error_file_id"])
    assert {e["error"]["code"] for e in errors} == {"batch_cancelled"}
    assert [e["custom_id"] for e in errors] == [f"line-{i}" for i in range(40)]
    records = records_of(served, batch)
    assert len(records) == 16
    assert {r["end"] for r in records} == {"client_left"}
    assert all(r["amount"] > 0 for r in records)
    again = client.post(f"/v1/batches/{batch['id']}/cancel")
    assert again.status_code == 400


def test_a_revoked_key_ends_its_batch(client: httpx.Client, served: Served) -> None:
    key = {"X-API-Key": served.new_key(name="to be revoked")}
    caller = served.services.ring.find(key["X-API-Key"])
    lines = [chat_line(i, "go", model="slow", max_tokens=40) for i in range(200)]
    with httpx.Client(base_url=served.url, headers=key, timeout=60) as theirs:
        batch = made_batch(theirs, lines)
        wait_until(lambda: len(served.services.supervisor) >= 16, "lines run")
    database = SqliteDatabase(sqlite.prepared_ledger(served.data_dir))
    KeyStore(database).revoke(caller.key_id)
    database.close()
    batch = finished(client, batch)
    assert batch["status"] == "failed"
    [error] = batch["errors"]["data"]
    assert error["code"] == "invalid_api_key"
    assert batch["request_counts"]["total"] == 200


@pytest.mark.parametrize("kind", ["money", "tokens"])
def test_a_batch_uses_its_keys_budget_up_and_ends(
    client: httpx.Client, served: Served, kind: Any
) -> None:
    amount = 3_000 if kind == "money" else 200
    budget = Budget(kind=kind, amount=amount, period="total")
    key = {"X-API-Key": served.new_key(name=kind, budget=budget, currency="NOK")}
    with httpx.Client(base_url=served.url, headers=key, timeout=60) as theirs:
        made = made_batch(theirs, [chat_line(i, "a b c d", max_tokens=8) for i in range(500)])
    batch = finished(client, made)
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "budget_exceeded"
    counts = batch["request_counts"]
    assert 0 < counts["completed"] < 500 == counts["completed"] + counts["failed"]
    records = records_of(served, batch)
    ran = [r for r in records if r["end"] == "ok"]
    assert len(ran) == counts["completed"]
    units = "amount" if kind == "money" else "prompt_tokens"
    spent = [r[units] if kind == "money" else 2 * r[units] for r in ran]
    assert sum(spent) - spent[-1] < amount, "the last one alone goes over it"


def test_lists_page(client: httpx.Client, served: Served) -> None:
    key = {"X-API-Key": served.new_key(owner="pages")}
    with httpx.Client(base_url=served.url, headers=key, timeout=60) as theirs:
        ids = [finished(theirs, made_batch(theirs, [chat_line(1, "x")]))["id"] for _ in range(3)]
        page = theirs.get("/v1/batches?limit=2").json()
        assert [b["id"] for b in page["data"]] == ids[:0:-1]
        assert page["has_more"] is True
        rest = theirs.get(f"/v1/batches?limit=2&after={page['last_id']}").json()
        assert [b["id"] for b in rest["data"]] == ids[:1]
        assert rest["has_more"] is False
        files = theirs.get("/v1/files?limit=4&purpose=batch&order=asc").json()["data"]
        assert [f["purpose"] for f in files] == ["batch"] * 3
    for query in ("limit=0", "limit=101", "limit=x", "after=batch_nothing"):
        assert client.get(f"/v1/batches?{query}").status_code == 400


def test_others_see_nothing_of_it(client: httpx.Client, served: Served) -> None:
    batch = finished(client, made_batch(client, [chat_line(1, "secret")]))
    key = {"X-API-Key": served.new_key(owner="others")}
    with httpx.Client(base_url=served.url, headers=key, timeout=60) as theirs:
        for path in (f"/v1/files/{batch['output_file_id']}", f"/v1/batches/{batch['id']}"):
            assert theirs.get(path).status_code == 404
        assert theirs.get(f"/v1/files/{batch['output_file_id']}/content").status_code == 404
        assert theirs.delete(f"/v1/files/{batch['input_file_id']}").status_code == 404
        assert theirs.post(f"/v1/batches/{batch['id']}/cancel").status_code == 404
        asked = {"input_file_id": batch["input_file_id"], "endpoint": "/v1/chat/completions"}
        asked |= {"completion_window": "24h"}
        assert theirs.post("/v1/batches", json=asked).status_code == 404
        assert theirs.get("/v1/files").json()["data"] == []
        assert theirs.get("/v1/batches").json()["data"] == []
    kin = {"X-API-Key": served.new_key()}
    assert httpx.get(f"{served.url}/v1/batches/{batch['id']}", headers=kin).status_code == 200


def test_a_file_in_use_stays(client: httpx.Client) -> None:
    batch = made_batch(client, [chat_line(1, "x", model="slow", max_tokens=2000)])
    refused = client.delete(f"/v1/files/{batch['input_file_id']}")
    assert refused.status_code == 400
    assert batch["id"] in refused.json()["error"]["message"]
    client.post(f"/v1/batches/{batch['id']}/cancel")
    finished(client, batch)
    assert client.delete(f"/v1/files/{batch['input_file_id']}").json()["deleted"] is True
    assert client.get(f"/v1/files/{batch['input_file_id']}").status_code == 404


def test_two_batches_read_one_file(client: httpx.Client, served: Served) -> None:
    file_id = upload(client, [chat_line(i, "x") for i in range(50)])
    both = [made_batch(client, file_id=file_id) for _ in range(2)]
    for batch in both:
        done = finished(client, batch)
        assert done["request_counts"]["completed"] == 50
        assert len(records_of(served, batch)) == 50
