"""Checks: files and batches, where a server has them."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import CHAT, FILES, HELLO, Target
from server.conform.unmet import Skipped

BATCHES: Final = "/v1/batches"
_OVER: Final = ("completed", "failed", "cancelled", "expired")
_LOOK_S: Final = 0.2
_FILE_MEMBERS: Final = ("id", "object", "bytes", "created_at", "filename", "purpose")
_NOBODY: Final = "file-000000000000000000000000"


def _line(t: Target, custom_id: str, **fields: Any) -> dict[str, Any]:
    body = {"model": t.model, "messages": list(HELLO), "max_tokens": 4} | fields
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def _form(t: Target, content: bytes, purpose: str = "batch") -> httpx.Response:
    form, file = {"purpose": purpose}, {"file": ("in.jsonl", content)}
    answer = t.http.post(FILES, data=form, files=file, headers=t.auth)
    if answer.status_code in (404, 405, 501):
        raise Skipped("this server has no files and batches")
    return answer


def _uploaded(t: Target, lines: Sequence[Mapping[str, Any]] | bytes) -> dict[str, Any]:
    if not isinstance(lines, bytes):
        lines = b"\n".join(json.dumps(line).encode() for line in lines)
    found: dict[str, Any] = expect.ok(_form(t, lines))
    return found


def _begun(t: Target, lines: Sequence[Mapping[str, Any]] | bytes, **more: Any) -> dict[str, Any]:
    body = {"input_file_id": _uploaded(t, lines)["id"], "endpoint": CHAT}
    made: dict[str, Any] = expect.ok(t.post(BATCHES, body | {"completion_window": "24h"} | more))
    return made


def _over(t: Target, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, when nothing happens to it any more."""
    end = time.monotonic() + max(60.0, t.options.timeout_s)
    while True:
        found: dict[str, Any] = expect.ok(t.get(f"{BATCHES}/{batch['id']}"))
        if found["status"] in _OVER:
            return found
        expect.that(time.monotonic() < end, "a batch that ends", found["status"])
        time.sleep(_LOOK_S)


def _content(t: Target, file_id: str) -> list[dict[str, Any]]:
    answer = t.get(f"{FILES}/{file_id}/content")
    expect.status(answer, 200)
    return [json.loads(line) for line in answer.text.splitlines()]


@declared("file-upload")
def upload(t: Target) -> None:
    """an upload's answer is a file object"""
    content = json.dumps(_line(t, "a")).encode()
    file = _uploaded(t, content)
    for member in _FILE_MEMBERS:
        expect.that(member in file, member, file)
    expect.equal("object", file["object"], "file")
    expect.equal("bytes", file["bytes"], len(content))
    expect.equal("purpose", file["purpose"], "batch")


@declared("file-upload")
def upload_refused(t: Target) -> None:
    """another purpose, no file, and what is no form are refused"""
    expect.status(_form(t, b"x", purpose="no-such-purpose"), 400)
    empty = t.http.post(FILES, files={"purpose": (None, "batch")}, headers=t.auth)
    expect.status(empty, 400)
    expect.status(t.post(FILES, {"purpose": "batch"}), 400, 415)


@declared("file-content")
def content(t: Target) -> None:
    """a file's content is what was sent, byte for byte"""
    sent = b'{"a": "\xc3\xb8"}\r\n\x00\xff\n\n'
    file = _uploaded(t, sent)
    answer = t.get(f"{FILES}/{file['id']}/content")
    expect.status(answer, 200)
    expect.equal("content", answer.content, sent)


@declared("file-list")
def listed(t: Target) -> None:
    """files are listed, the newest first, page by page"""
    first, second = _uploaded(t, b"1"), _uploaded(t, b"2")
    page = expect.ok(t.get(f"{FILES}?limit=100"))
    ids = [file["id"] for file in page["data"]]
    expect.that(ids.index(second["id"]) < ids.index(first["id"]), "the newest first", ids[:8])
    rest = expect.ok(t.get(f"{FILES}?limit=1&after={second['id']}"))
    expect.equal("files of a page of 1", len(rest["data"]), 1)
    expect.that(rest["data"][0]["id"] != second["id"], "what comes after", rest["data"][0]["id"])


@declared("file-delete")
def deleted(t: Target) -> None:
    """a deleted file is gone"""
    path = f"{FILES}/{_uploaded(t, b'1')['id']}"
    gone = expect.ok(t.http.request("DELETE", path, headers=t.auth))
    expect.equal("deleted", gone["deleted"], True)
    expect.status(t.get(path), 404)
    expect.status(t.get(f"{path}/content"), 404)


@declared("file-delete")
def unknown_files(t: Target) -> None:
    """an id of nobody's, or a path for an id, is a 404"""
    _uploaded(t, b"1")
    for name in (_NOBODY, "..", "%2e%2e%2fbatches", "file-x", "a" * 300):
        expect.status(t.get(f"{FILES}/{name}"), 404, 405, 200 if name == ".." else 404)
        expect.status(t.get(f"{FILES}/{name}/content"), 404)


@declared("batch-output")
def three_lines(t: Target) -> None:
    """a batch of three lines is answered, in order, in OpenAI's form"""
    batch = _begun(t, [_line(t, name) for name in "abc"], metadata={"k": "v"})
    expect.equal("object", batch["object"], "batch")
    expect.one_of("status", batch["status"], ("validating", "in_progress"))
    done = _over(t, batch)
    expect.equal("status", done["status"], "completed")
    expect.equal("metadata", done["metadata"], {"k": "v"})
    answers = _content(t, done["output_file_id"])
    expect.equal("custom ids", [a["custom_id"] for a in answers], ["a", "b", "c"])
    for answer in answers:
        expect.equal("error", answer["error"], None)
        expect.equal("status_code", answer["response"]["status_code"], 200)
        expect.that(bool(answer["response"]["request_id"]), "request_id", answer)
        choice = answer["response"]["body"]["choices"][0]
        expect.equal("role", choice["message"]["role"], "assistant")


@declared("batch-counts")
def counts(t: Target) -> None:
    """request_counts add up, and a wrong body counts as failed"""
    done = _over(t, _begun(t, [_line(t, "good"), _line(t, "bad", temperature=9)]))
    expect.equal("counts", done["request_counts"], {"total": 2, "completed": 1, "failed": 1})


@declared("batch-errors")
def errors(t: Target) -> None:
    """a refused line stands in the error file, with its status and body"""
    done = _over(t, _begun(t, [_line(t, "good"), _line(t, "bad", temperature=9)]))
    [line] = _content(t, done["error_file_id"])
    expect.equal("custom_id", line["custom_id"], "bad")
    expect.equal("status_code", line["response"]["status_code"], 400)
    expect.that("message" in line["response"]["body"]["error"], "an error's body", line)


@declared("batch-checked")
def wrong_lines(t: Target) -> None:
    """a wrong line fails the batch before any is asked, with its number"""
    good = _line(t, "a")
    for lines in (
        [good, good],
        [good, good | {"custom_id": "b", "url": "/v1/embeddings"}],
        [good, good | {"custom_id": "b", "method": "GET"}],
    ):
        done = _over(t, _begun(t, lines))
        expect.equal("status", done["status"], "failed")
        expect.equal("line", done["errors"]["data"][0]["line"], 2)
        expect.equal("output_file_id", done["output_file_id"], None)


@declared("batch-create")
def create_refused(t: Target) -> None:
    """an unknown file is a 404; another window or endpoint a 400"""
    file_id = _uploaded(t, [_line(t, "a")])["id"]
    body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    expect.status(t.post(BATCHES, body | {"input_file_id": _NOBODY}), 404)
    expect.status(t.post(BATCHES, body | {"completion_window": "1h"}), 400)
    expect.status(t.post(BATCHES, body | {"endpoint": "/v1/models"}), 400)
    expect.status(t.get(f"{BATCHES}/batch_nobody"), 404)


@declared("batch-cancel")
def cancel(t: Target) -> None:
    """a batch can be cancelled, and then no more"""
    batch = _begun(t, [_line(t, str(i), max_tokens=64) for i in range(300)])
    answer = t.post(f"{BATCHES}/{batch['id']}/cancel", {})
    if answer.status_code == 400:
        raise Skipped("three hundred lines were done at once")
    expect.one_of("status", expect.ok(answer)["status"], ("cancelling", "cancelled"))
    done = _over(t, batch)
    expect.equal("status", done["status"], "cancelled")
    numbers = done["request_counts"]
    expect.equal("lines", numbers["completed"] + numbers["failed"], 300)
    expect.status(t.post(f"{BATCHES}/{batch['id']}/cancel", {}), 400)
