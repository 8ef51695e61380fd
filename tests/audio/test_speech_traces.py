"""A transcription is one trace, as every request that generates."""

import httpx
import pytest

from server.tracing import export
from tests.support.collectors import collecting
from tests.support.recordings import tone
from tests.support.serving import scripted, serving
from tests.support.traced import GENERATION, trace_of


def test_a_transcription_is_a_trace(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "EVERY_S", 0.02)
    path, folder = "/v1/audio/transcriptions", tmp_path_factory.mktemp("data")
    with (
        collecting() as collector,
        serving(
            folder,
            scripted("ears", task="transcribe"),
            settings={"otlp_endpoint": collector.url},
        ) as served,
    ):
        files, data = {"file": ("a.wav", tone(1.0))}, {"model": "ears"}
        answer = httpx.post(served.url + path, headers=served.headers, data=data, files=files)
        assert answer.status_code == 200
        root, work, *phases = trace_of(collector, path)
    assert root["http.route"] == path
    assert work.name == "transcription ears"
    assert work["gen_ai.usage.input_tokens"] == 50
    assert [phase.name for phase in phases] == GENERATION
