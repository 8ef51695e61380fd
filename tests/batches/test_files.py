"""/v1/files: hostile forms and names, quotas, a disk that takes nothing."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.batches import upload
from tests.support.serving import Served, scripted, server_of, wait_until

served = server_of(scripted("m"), settings={"file_gb": 2e-4, "files_gb": 3e-4})


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """Of an owner without files."""
    key = served.new_key(owner=f"owner-{len(served.services.ring.by_hash)}")
    headers = {"X-API-Key": key}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as made:
        yield made


def sent(client: httpx.Client, content: bytes, name: str = "in.jsonl", **form: str) -> Any:
    fields = {"purpose": "batch"} | form
    return client.post("/v1/files", data=fields, files={"file": (name, content)})


def left(served: Served) -> set[str]:
    folder = served.data_dir / "files"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_file_over_the_bound_leaves_nothing(client: httpx.Client, served: Served) -> None:
    before = left(served)
    for content in (b"x" * 200_001, b"x" * 5_000_000):
        answer = sent(client, content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "REQUEST_TOO_LARGE")
    assert left(served) == before
    assert sent(client, b"x" * 200_000).status_code == 200


def test_an_owners_files_have_a_bound_together(client: httpx.Client, served: Served) -> None:
    first = upload(client, b"x" * 199_000)
    assert sent(client, b"x" * 102_000).status_code == 413
    assert sent(client, b"x" * 101_000).status_code == 200
    assert client.delete(f"/v1/files/{first}").status_code == 200
    assert sent(client, b"x" * 102_000).status_code == 200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\x.jsonl", "x.jsonl"),
        ("/", "file"),
        ("a" * 4000, "a" * 255),
    ],
)
def test_a_files_name_is_a_word_and_no_path(
    client: httpx.Client, served: Served, name: str, shown: str
) -> None:
    made = sent(client, b"x", name).json()
    assert made["filename"] == shown
    path = served.data_dir / "files" / made["id"]
    assert path.read_bytes() == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "file_id",
    [
        "..",
        "../ledger.sqlite3",
        "..%2fledger.sqlite3",
        "%2e%2e%2f%2e%2e",
        "file-%00",
        "file-" + "0" * 24,
    ],
)
def test_no_id_leads_elsewhere(served: Served, client: httpx.Client, file_id: str) -> None:
    answer = client.get(f"/v1/files/{file_id}/content")
    assert answer.status_code in (404, 405)
    assert b"SQLite" not in answer.content


B = "----b"
PART = f'--{B}\r\nContent-Disposition: form-data; name="{{}}"\r\n\r\n{{}}\r\n'
FILE = f'--{B}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{{}}\r\n'
END = f"--{B}--\r\n"
LAST = FILE.format("x") + END


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no form",
        FILE.format("x"),
        FILE.format("x") + PART.format("purpose", "batch"),
        PART.format("purpose", "batch") + END,
        PART.format("purpose", "fine-tune") + FILE.format("x") + END,
        FILE.format("x") + FILE.format("y") + PART.format("purpose", "batch") + END,
        "".join(PART.format(f"p{i}", "") for i in range(20)) + END,
        PART.format("purpose", "b" * 100_000) + FILE.format("x") + END,
        f'--{B}\r\nContent-Disposition: form-data; name="{"n" * 100_000}"\r\n\r\nx\r\n' + END,
        PART.format("purpose", "batch")
        + PART.format("expires_after[seconds]", "1")
        + FILE.format("x")
        + END,
    ],
)
def test_a_wrong_form_is_refused_and_leaves_nothing(
    client: httpx.Client, served: Served, body: str
) -> None:
    before = left(served)
    kind = {"Content-Type": f"multipart/form-data; boundary={B}"}
    answer = client.post("/v1/files", content=body.encode(), headers=kind)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "INVALID_PARAMETER"
    assert len(answer.content) < 1000
    assert left(served) == before
    assert client.get("/v1/files").json()["data"] == []


def test_what_is_no_form_says_so(client: httpx.Client) -> None:
    assert client.post("/v1/files", json={}).status_code == 415
    zipped = {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}
    assert client.post("/v1/files", content=b"", headers=zipped).status_code == 415


def test_a_disk_that_takes_nothing_is_a_503(client: httpx.Client, served: Served) -> None:
    upload(client, b"x")
    folder, aside = served.data_dir / "files", served.data_dir / "aside"
    folder.rename(aside)
    folder.write_bytes(b"")
    try:
        answer = sent(client, b"x" * 1000)
    finally:
        folder.unlink()
        aside.rename(folder)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "OVERLOADED")
    assert str(served.data_dir) not in answer.text
    assert sent(client, b"x" * 1000).status_code == 200


def test_a_client_that_leaves_leaves_nothing(client: httpx.Client, served: Served) -> None:
    before = left(served)

    def half() -> Iterator[bytes]:
        yield (PART.format("purpose", "batch") + FILE.format("x" * 100_000)).encode()
        raise RuntimeError("gone")

    kind = {"Content-Type": f"multipart/form-data; boundary={B}"}
    with pytest.raises(RuntimeError, match="gone"):
        client.post("/v1/files", content=half(), headers=kind)
    wait_until(lambda: left(served) == before, "nothing is left")
