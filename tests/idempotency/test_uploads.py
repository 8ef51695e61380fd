"""Forms with an Idempotency-Key: known again by fields and bytes, whatever lies around them."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Final

import httpx
import pytest

from server.api.audio.endpoints import SpeechEndpoint
from server.api.files.endpoints import FileUpload
from server.ledger.records import KeyLimits
from tests.support.keyed import REPLAYED, records
from tests.support.recordings import tone
from tests.support.serving import Served, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error

FILES, SPEECH, ENGLISH = "/v1/files", "/v1/audio/transcriptions", "/v1/audio/translations"
LINES: Final = b'{"custom_id": "a"}\n' * 5000
served = server_of(
    scripted("ears", task="transcribe"),
    scripted("slow", task="transcribe", text=" one two three four", token_delay_s=0.3),
    scripted("other", task="transcribe"),
    settings={"file_gb": 2e-4, "files_gb": 3e-4},
)
_numbers = count()
Part = tuple[str, str]
Fields = Sequence[Part]
both = pytest.mark.parametrize("path", [FILES, SPEECH, ENGLISH])


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": f"u-{next(_numbers)}"}


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """Of an owner without files."""
    api_key = served.new_key(owner=f"owner-{next(_numbers)}")
    headers = {"X-API-Key": api_key}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as made:
        yield made


def content(path: str) -> bytes:
    return LINES if path == FILES else tone(2.0)


def fields(path: str, model: str = "ears") -> Fields:
    return [("purpose", "batch")] if path == FILES else [("model", model), ("prompt", "Hi")]


def form(
    given: Fields,
    file: bytes,
    name: str = "in",
    boundary: str = "b",
    first: bool = False,
) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'Content-Disposition: form-data; name="{field}"\r\n\r\n{value}'.encode()
        for field, value in given
    ]
    head = f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
    parts.insert(0 if first else len(parts), head + file)
    lines = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return lines + f"--{boundary}--\r\n".encode(), kind


def sent(
    client: httpx.Client,
    path: str,
    key: dict[str, str],
    given: Fields | None = None,
    file: bytes | None = None,
    **around: str | bool,
) -> httpx.Response:
    given = fields(path) if given is None else given
    body, kind = form(given, content(path) if file is None else file, **around)  # type: ignore[arg-type]
    return client.post(path, content=body, headers=kind | key)


def kept(client: httpx.Client) -> int:
    return len(client.get(FILES).json()["data"])


@both
def test_a_retry_is_known_whatever_its_boundary_and_order(
    client: httpx.Client, served: Served, key: dict[str, str], path: str
) -> None:
    before = len(records(served))
    first = sent(client, path, key)
    assert (first.status_code, REPLAYED in first.headers) == (200, False), first.text
    for around in ({"boundary": "another"}, {"first": True}):
        again = sent(client, path, key, list(reversed(fields(path))), **around)
        assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    assert kept(client) == (path == FILES)
    assert len(records(served)) == before + (path != FILES)
    assert not list(served.data_dir.glob("files/*.part"))


@both
def test_another_form_is_refused(
    client: httpx.Client, served: Served, key: dict[str, str], path: str
) -> None:
    first = sent(client, path, key)
    extra = [("expires_after[anchor]", "x")] if path == FILES else [("language", "no")]
    for other in (
        sent(client, path, key, file=content(path)[:-2]),
        sent(client, path, key, [*fields(path), *extra]),
    ):
        assert_error(other, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
    named = sent(client, path, key, name="other")
    if path == FILES:  # which tells it again
        assert_error(named, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
    else:
        assert named.content == first.content
    assert kept(client) == (path == FILES)


def test_fields_of_one_name_have_an_order(client: httpx.Client, key: dict[str, str]) -> None:
    given = [("model", "other"), ("model", "ears")]
    assert sent(client, SPEECH, key, given).status_code == 200
    swapped = sent(client, SPEECH, key, list(reversed(given)))
    assert_error(swapped, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")


@both
def test_many_at_once_are_one(
    client: httpx.Client, served: Served, key: dict[str, str], path: str
) -> None:
    """Of files there is no room for two."""
    before, file = len(records(served)), LINES * 2 if path == FILES else tone(2.0)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(sent, client, path, key, fields(path, "slow"), file) for _ in range(6)]
        answers = [each.result() for each in asked]
    assert {r.status_code for r in answers} == {200}, [r.text for r in answers]
    assert len({r.content for r in answers}) == 1
    assert sum(REPLAYED in r.headers for r in answers) == 5
    assert kept(client) == (path == FILES)
    assert len(records(served)) == before + (path != FILES)


def test_a_retry_needs_no_room_of_its_own(client: httpx.Client, key: dict[str, str]) -> None:
    first = sent(client, FILES, key, file=b"x" * 190_000)
    again = sent(client, FILES, key, file=b"x" * 190_000)
    assert (first.status_code, again.content) == (200, first.content)
    other = key | {"Idempotency-Key": "another"}
    assert_error(sent(client, FILES, other, file=b"x" * 190_000), 413, "REQUEST_TOO_LARGE")
    assert client.delete(f"{FILES}/{first.json()['id']}").status_code == 200
    assert sent(client, FILES, other, file=b"x" * 190_000).status_code == 200


@both
def test_a_refused_first_is_not_remembered(
    client: httpx.Client, key: dict[str, str], path: str
) -> None:
    wrong = [("purpose", "other")] if path == FILES else [("model", "unknown")]
    for _ in range(2):
        assert sent(client, path, key, wrong).status_code in (400, 404)
    assert sent(client, path, key).status_code == 200


def half_sent(client: httpx.Client, path: str, key: dict[str, str]) -> socket.socket:
    body, kind = form(fields(path), content(path))
    headers = kind | key | dict(client.headers) | {"Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    place = client.base_url
    raw = socket.create_connection((place.host, place.port), timeout=30)
    raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body[:40_000])
    return raw


@both
def test_an_upload_that_is_cut_leaves_its_key_free(
    client: httpx.Client, served: Served, key: dict[str, str], path: str
) -> None:
    half_sent(client, path, key).close()
    answer = sent(client, path, key)
    assert (answer.status_code, REPLAYED in answer.headers) == (200, False)
    wait_until(lambda: not list(served.data_dir.glob("files/*.part")), "nothing is left of it")
    assert kept(client) == (path == FILES)


@both
def test_who_hears_another_sends_as_many_files_at_once_as_it_has_slots(
    served: Served, key: dict[str, str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has one: one request runs, and of all that follow it one sends its file."""
    runs, may_end = threading.Event(), threading.Event()
    of = FileUpload if path == FILES else SpeechEndpoint
    serve_taken = of.serve_taken

    async def held(*given: Any) -> int:
        runs.set()
        await asyncio.to_thread(may_end.wait, 30)
        return await serve_taken(*given)

    monkeypatch.setattr(of, "serve_taken", held)
    api_key = served.new_key(owner=f"narrow{path[3:7]}", limits=KeyLimits(concurrent=1))
    accounts = served.services.limiter.accounts

    def forms() -> int:
        return max(len(each.forms) for each in list(accounts.values()))

    asked: dict[str, Any] = {
        "base_url": served.url,
        "headers": {"X-API-Key": api_key},
        "timeout": 60,
    }
    with httpx.Client(**asked) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(sent, client, path, key)
        assert runs.wait(30)
        with half_sent(client, path, key):
            wait_until(lambda: forms() == 1, "one is being sent")
            for _ in range(5):
                refused = sent(client, path, key)
                assert_error(refused, 429, "CONCURRENCY_LIMIT_EXCEEDED")
            assert "of requests that are being answered already" in refused.text
        wait_until(lambda: not forms(), "it was cut")
        follower = pool.submit(sent, client, path, key)
        may_end.set()
        assert follower.result().content == first.result().content
        assert follower.result().headers[REPLAYED] == "true"
    assert not forms()


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_transcription_outlives_its_client(
    client: httpx.Client, served: Served, key: dict[str, str], stream: str
) -> None:
    before, given = len(records(served)), [*fields(SPEECH, "slow"), ("stream", stream)]
    body, kind = form(given, tone(2.0))
    with pytest.raises(httpx.ReadTimeout):
        client.post(SPEECH, content=body, headers=kind | key, timeout=httpx.Timeout(60, read=0.4))
    again = sent(client, SPEECH, key, given)
    assert (again.status_code, again.headers[REPLAYED]) == (200, "true")
    assert "four" in again.text
    assert sent(client, SPEECH, key, given).content == again.content
    assert len(records(served)) == before + 1


def test_a_key_without_the_model_does_not_get_what_was_heard(
    served: Served, client: httpx.Client, key: dict[str, str]
) -> None:
    assert sent(client, SPEECH, key).status_code == 200
    owner = served.services.ring.authenticate(
        [(b"x-api-key", client.headers["X-API-Key"].encode())]
    )
    narrow = served.new_key(owner=owner.owner, models=("other",))
    refused = sent(client, SPEECH, key | {"X-API-Key": narrow})
    assert_error(refused, 403, "INSUFFICIENT_PERMISSIONS")


@both
@pytest.mark.parametrize("value", ["", "k" * 256])
def test_a_key_of_another_form_is_told_before_the_upload(
    client: httpx.Client, path: str, value: str
) -> None:
    refused = sent(client, path, {"Idempotency-Key": value})
    assert_error(refused, 400, "INVALID_PARAMETER", "Idempotency-Key")
