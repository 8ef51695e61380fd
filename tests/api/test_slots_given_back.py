"""A key that may have one request at once asks again as soon as it has its answer, however long its
file takes to be cleared away."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.audio.form import SpeechForm
from server.api.files.endpoints import Upload
from server.ledger.records import KeyLimits
from tests.support.recordings import tone
from tests.support.serving import Served, scripted, serving

SLOW_S = 0.5


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, scripted("hears", task="transcribe", output_tokens=200)) as made:
        yield made


def slowly(close: Any) -> Any:
    async def closed(form: Any) -> None:
        await asyncio.sleep(SLOW_S)
        await close(form)

    return closed


def asked(client: httpx.Client, path: str, headers: dict[str, str]) -> httpx.Response:
    if path == "/v1/files":
        line = b'{"custom_id":"a"}\n'
        file, data = ("a.jsonl", line), {"purpose": "batch"}
    else:
        file, data = ("a.wav", tone(2)), {"model": "hears"}
    return client.post(path, files={"file": file}, data=data, headers=headers)


@pytest.mark.parametrize("is_keyed", [False, True], ids=["plain", "keyed"])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions"])
def test_its_slot_is_free_once_it_has_its_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch, path: str, is_keyed: bool
) -> None:
    for form in (SpeechForm, Upload):
        monkeypatch.setattr(form, "close", slowly(form.close))
    key = served.new_key(limits=KeyLimits(concurrent=1))
    for number in range(3):
        headers = {"X-API-Key": key} | ({"Idempotency-Key": f"k{number}"} if is_keyed else {})
        with httpx.Client(base_url=served.url, timeout=30) as client:  # a connection of its own
            answer = asked(client, path, headers)
        assert answer.status_code == 200, answer.text
