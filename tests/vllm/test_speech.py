"""A tiny Whisper on vLLM through the whole server. It writes nonsense, so what is looked at is that
each of its tokens comes, in the form that was asked for, and is billed."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from engines.registry.spec import EngineSpec, ModelSpec, Price
from engines.vllm.engine import VllmEngine
from tests.support.recordings import tone
from tests.support.serving import Served, read_records, serving, wait_until
from tests.support.tiny_whisper import make_whisper
from tests.support.wire_checks import assert_error

pytestmark = pytest.mark.vllm
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = make_whisper(tmp_path_factory.mktemp("whisper"))
    args = {"max_num_seqs": 8, "kv_cache_memory_bytes": 2**26}
    spec = EngineSpec(kind="vllm", source=str(folder), task="transcribe", args=args)
    model = ModelSpec(
        alias="whisper",
        engine=spec,
        context_tokens=448,
        output_tokens=24,
        price=Price(input=2_000_000, cached_input=2_000_000),
    )

    def build(spec: EngineSpec) -> VllmEngine:
        return VllmEngine(spec, spec.source)

    with serving(tmp_path_factory.mktemp("data"), model, build=build) as served:
        yield served


def asked(client: httpx.Client, file: bytes, path: str = PATH, **fields: Any) -> httpx.Response:
    data = {"model": "whisper", "language": "en"} | fields
    return client.post(path, data=data, files={"file": ("a.wav", file)}, timeout=120)


def last_record(served: Served) -> dict[str, Any]:
    return read_records(served.data_dir)[-1]


def test_it_hears_what_is_there(served: Served, client: httpx.Client) -> None:
    first = asked(client, tone(2.0))
    assert first.status_code == 200, first.text
    record = last_record(served)
    assert record["prompt_tokens"] == 100
    assert 1 <= record["completion_tokens"] <= 24
    assert first.json()["usage"] == {"type": "duration", "seconds": 2}
    assert asked(client, tone(2.0)).json() == first.json()
    assert asked(client, tone(2.0, pause_every_s=0.5)).json()["text"] != first.json()["text"]


def test_a_stream_says_the_same(client: httpx.Client) -> None:
    whole = asked(client, tone(2.0)).json()
    stream = asked(client, tone(2.0), stream="true").text
    assert '"type":"transcript.text.done"' in stream
    [said] = re.findall(r'"transcript.text.done","text":("(?:[^"\\]|\\.)*")', stream)
    assert said == httpx.Response(200, json=whole["text"]).text


def test_pieces_of_a_long_one_are_heard_at_once(served: Served, client: httpx.Client) -> None:
    answer = asked(client, tone(65), response_format="verbose_json").json()
    assert answer["duration"] == 65
    assert all(0 <= s["start"] <= s["end"] <= 65 for s in answer["segments"])
    assert all(a["end"] <= b["start"] for a, b in pairwise(answer["segments"]))
    assert last_record(served)["prompt_tokens"] == 65 * 50


def test_it_finds_the_language(client: httpx.Client) -> None:
    data = {"model": "whisper", "response_format": "verbose_json"}
    answers = [
        client.post(PATH, data=data, files={"file": ("a.wav", tone(2.0))}, timeout=120).json()
        for _ in range(2)
    ]
    assert answers[0]["language"] == answers[1]["language"]
    assert re.fullmatch("[a-z ]+", answers[0]["language"])


def test_its_prompt_and_its_task_are_read(client: httpx.Client) -> None:
    plain = asked(client, tone(2.0)).json()["text"]
    assert asked(client, tone(2.0), prompt="Names: Ada, Grace").json()["text"] != plain
    english = asked(client, tone(2.0), "/v1/audio/translations").json()["text"]
    assert english != plain


def test_a_prompt_longer_than_what_it_writes_is_refused(client: httpx.Client) -> None:
    answer = asked(client, tone(2.0), prompt="x" * 1000)
    error = assert_error(answer, 400, "CONTEXT_LENGTH_EXCEEDED", "prompt")
    assert error["details"]["context_tokens"] == 448


def test_many_at_once_are_told_apart(served: Served) -> None:
    files = [tone(seconds) for seconds in (1.0, 1.5, 2.5, 3.5)]

    async def all_at_once() -> list[str]:
        async with httpx.AsyncClient(base_url=served.url, headers=served.headers) as client:
            asks = [
                client.post(
                    PATH,
                    data={"model": "whisper", "language": "en"},
                    files={"file": ("a.wav", file)},
                    timeout=120,
                )
                for file in files
            ]
            return [answer.json()["text"] for answer in await asyncio.gather(*asks)]

    with httpx.Client(base_url=served.url, headers=served.headers) as client:
        alone = [asked(client, file).json()["text"] for file in files]
    assert asyncio.run(all_at_once()) == alone


def test_who_leaves_is_billed_what_was_written(served: Served) -> None:
    before = len(read_records(served.data_dir))
    with httpx.Client(base_url=served.url, headers=served.headers) as client:
        data = {"model": "whisper", "language": "en", "stream": "true"}
        files = {"file": ("a.wav", tone(60))}
        with client.stream("POST", PATH, data=data, files=files, timeout=120) as answer:
            next(answer.iter_bytes())
    wait_until(lambda: len(read_records(served.data_dir)) > before, "its record")
    assert last_record(served)["prompt_tokens"] in (0, 3000)
