"""/v1/audio/transcriptions and translations on a scripted engine: every form of answer, exact
bills, and whatever is wrong with a recording."""

import errno
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from engines.audio.splitting import pieces
from server.api.audio.endpoints import HELD
from server.api.audio.form import Recording
from server.ledger.records import KeyLimits
from tests.support.recordings import encoded, tone
from tests.support.serving import Served, read_records, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error

SECONDS = 3.5
served = server_of(
    scripted("ears", task="transcribe"),
    scripted("slow", task="transcribe", text=" one two three four", token_delay_s=0.2),
    scripted("norsk", task="transcribe", language="no"),
    scripted("chat"),
    settings={"audio_seconds": 100, "audio_mb": 4},
)
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def wav() -> bytes:
    return tone(SECONDS)


def asked(client: httpx.Client, file: bytes, path: str = PATH, **fields: Any) -> httpx.Response:
    data = {"model": "ears"} | fields
    return client.post(path, data=data, files={"file": ("speech.wav", file, "audio/wav")})


def last_record(served: Served) -> dict[str, Any]:
    """{"end": ""}: there is none yet."""
    return [{"end": ""}, *read_records(served.data_dir)][-1]


def test_what_was_heard_is_said_and_billed_by_the_second(
    served: Served, client: httpx.Client, wav: bytes
) -> None:
    answer = asked(client, wav)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "text": "3.50 seconds of en",
        "usage": {"type": "duration", "seconds": 4},
    }
    record = last_record(served)
    assert record["prompt_tokens"] == 200
    assert record["endpoint"] == "audio"
    assert record["end"] == "ok"
    assert record["completion_tokens"] == 5


@pytest.mark.parametrize(
    ("form", "kind", "body"),
    [
        ("text", "text/plain", "3.50 seconds of en\n"),
        (
            "srt",
            "application/x-subrip",
            "1\n00:00:00,000 --> 00:00:03,500\n3.50 seconds of en\n\n",
        ),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:03.500\n3.50 seconds of en\n\n"),
    ],
)
def test_text_and_subtitles(
    client: httpx.Client, wav: bytes, form: str, kind: str, body: str
) -> None:
    answer = asked(client, wav, response_format=form)
    assert answer.headers["content-type"].split(";")[0] == kind
    assert answer.text == body


def test_with_its_times(client: httpx.Client, wav: bytes) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "segment"}
    answer = asked(client, wav, **fields).json()
    assert answer["task"] == "transcribe"
    assert answer["language"] == "english"
    assert answer["duration"] == SECONDS
    [segment] = answer["segments"]
    assert (segment["start"], segment["end"]) == (0.0, SECONDS)
    assert segment["text"] == " 3.50 seconds of en"
    assert segment["avg_logprob"] < 0


def test_a_translation_is_into_english(served: Served, client: httpx.Client, wav: bytes) -> None:
    answer = asked(client, wav, "/v1/audio/translations", response_format="verbose_json").json()
    assert answer["task"] == "translate"
    assert answer["text"] == "3.50 seconds of en in English"
    assert last_record(served)["endpoint"] == "audio_translations"


def test_the_language_is_found_once_or_told(client: httpx.Client, wav: bytes) -> None:
    form = {"response_format": "verbose_json"}
    assert asked(client, wav, model="norsk", **form).json()["language"] == "norwegian"
    assert asked(client, wav, model="norsk", language="de", **form).json()["language"] == "german"


def test_a_long_recording_is_heard_in_pieces_that_are_cut_where_it_is_quiet(
    served: Served, client: httpx.Client
) -> None:
    answer = asked(client, tone(62, pause_every_s=29.5), response_format="verbose_json").json()
    assert [(s["start"], s["end"]) for s in answer["segments"]] == [
        (0.0, 29.25),
        (29.25, 58.75),
        (58.75, 62.0),
    ]
    assert answer["text"] == "29.25 seconds of en 29.50 seconds of en 3.25 seconds of en"
    assert answer["usage"]["seconds"] == 62
    assert last_record(served)["prompt_tokens"] == 62 * 50


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in re.findall(r"^data: (.*)$", text, re.M)]


def test_a_stream_tells_pieces_in_their_order(client: httpx.Client) -> None:
    answer = asked(client, tone(62, pause_every_s=29.5), stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events_of(answer.text)
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"}
    assert done == {
        "type": "transcript.text.done",
        "text": "29.25 seconds of en 29.50 seconds of en 3.25 seconds of en",
        "usage": {"type": "duration", "seconds": 62},
    }
    assert "".join(delta["delta"] for delta in deltas) == done["text"]


def test_the_official_client(served: Served, sdk: openai.OpenAI, wav: bytes) -> None:
    file = ("speech.wav", wav)
    said = sdk.audio.transcriptions.create(model="ears", file=file)
    assert said.text == "3.50 seconds of en"
    verbose = sdk.audio.transcriptions.create(
        model="ears", file=file, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert verbose.segments is not None
    assert verbose.segments[0].end == SECONDS
    text = sdk.audio.transcriptions.create(model="ears", file=file, response_format="srt")
    assert str(text).startswith("1\n00:00:00,000")
    events = list(sdk.audio.transcriptions.create(model="ears", file=file, stream=True))
    assert events[-1].type == "transcript.text.done"
    with pytest.deprecated_call():
        english = sdk.audio.translations.create(model="ears", file=file)
    assert english.text.endswith("in English")


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("mp3", "mp3", 44_100), ("flac", "flac", 44_100), ("webm", "libopus", 48_000),
     ("mp4", "aac", 44_100), ("adts", "aac", 44_100)],
)  # fmt: skip
def test_formats_of_recordings(client: httpx.Client, container: str, codec: str, rate: int) -> None:
    file = encoded(tone(2.0, rate=44_100, channels=2), container, codec, rate)
    answer = asked(client, file)
    assert answer.status_code == 200, answer.text
    assert re.fullmatch(r"2\.0\d seconds of en", answer.json()["text"])


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (b"", "damaged"),
        (b"no sound at all" * 100, "damaged"),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "damaged"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "damaged"),
        (tone(0), "no sound"),
        (tone(101), "longer than 100 seconds"),
    ],
    ids=["empty", "text", "playlist", "list of files", "silence of no length", "too long"],
)
def test_a_recording_that_cannot_be_read(
    served: Served, client: httpx.Client, file: bytes, said: str
) -> None:
    answer = asked(client, file)
    error = assert_error(answer, 400, "INVALID_PARAMETER", "file")
    assert said in error["message"]
    wait_until(lambda: last_record(served)["end"] == "rejected", "a record of its own")
    assert last_record(served)["prompt_tokens"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "nobody"}, "model"),
        ({"model": "chat"}, "model"),
        ({"language": "xx"}, "language"),
        ({"language": "English"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": "1.1"}, "temperature"),
        ({"temperature": "-0.1"}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "NaN"}, "temperature"),
        ({"temperature": ""}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stream": "true", "response_format": "srt"}, "response_format"),
        ({"prompt": "x" * 4097}, "prompt"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"include[]": "logprobs"}, "include"),
        ({"chunking_strategy": '{"type": "server_vad"}'}, "chunking_strategy"),
        ({"known_speaker_names[]": "Ada"}, "known_speaker_names"),
        ({"hotwords": "Oslo"}, "hotwords"),
        ({"region": "mars"}, "region"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    client: httpx.Client, wav: bytes, fields: dict[str, str], param: str
) -> None:
    answer = asked(client, wav, **fields)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["param"] == param
    assert len(answer.text) < 2000


@pytest.mark.parametrize("given", ["", "warm", "NaN", "1.1"])
def test_a_temperature_is_told_its_own_range(client: httpx.Client, wav: bytes, given: str) -> None:
    error = asked(client, wav, temperature=given).json()["error"]
    assert "expected a number from 0 to 1." in error["message"]
    assert error["details"]["expected"] == "a number from 0 to 1"


def test_a_full_disk_is_told_of_recordings(
    client: httpx.Client, wav: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Recording, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/secret")

    monkeypatch.setattr(Recording, "write", full)
    answer = asked(client, wav)
    error = assert_error(answer, 503, "OVERLOADED", None)
    assert error["message"].startswith("Recordings cannot be stored")
    assert "secret" not in answer.text


def test_pieces_are_no_copies() -> None:
    samples = memoryview(bytearray(2 * 16_000 * 70))
    parts = list(pieces(samples))
    assert [part.obj for part in parts] == [samples.obj] * len(parts)
    assert b"".join(parts) == samples


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "0"},
        {"temperature": "1"},
        {"prompt": "x" * 4096},
        {"chunking_strategy": "auto"},
        {"agent_id": "a"},
        {"somebody": "else"},
        {"stream": "false"},
    ],
)
def test_both_ends_of_each_range(client: httpx.Client, wav: bytes, fields: dict[str, str]) -> None:
    assert asked(client, wav, **fields).status_code == 200


def test_forms_that_are_none(client: httpx.Client, wav: bytes) -> None:
    assert_error(client.post(PATH, json={"model": "ears"}), 415, "UNSUPPORTED_MEDIA_TYPE")
    none = client.post(PATH, data={"model": "ears"}, files={"other": ("a", wav)})
    assert_error(none, 400, "INVALID_PARAMETER", "file")
    fileless = client.post(PATH, files={"model": (None, "ears")})
    assert_error(fileless, 400, "INVALID_PARAMETER", "file")
    nameless = client.post(PATH, files={"file": ("a.wav", wav)})
    assert_error(nameless, 400, "INVALID_PARAMETER", "model")
    large = asked(client, b"x" * 4_000_001)
    assert_error(large, 413, "REQUEST_TOO_LARGE", "file")


def test_its_details_say_what_it_hears_and_what_a_second_costs(client: httpx.Client) -> None:
    listed = client.get("/v1/models?details=true").json()["data"]
    [ears] = [each for each in listed if each["id"] == "ears"]
    assert ears["input_modalities"] == ["audio"]
    assert ears["price"]["per_second"] == "0.000200"  # 4.00 a million tokens, 50 a second
    [chat] = [each for each in listed if each["id"] == "chat"]
    assert "per_second" not in chat["price"]


def test_other_endpoints_have_no_use_for_its_models(client: httpx.Client) -> None:
    body = {"model": "ears", "messages": [{"role": "user", "content": "Hi"}]}
    answer = client.post("/v1/chat/completions", json=body)
    error = assert_error(answer, 400, "INVALID_PARAMETER", "model")
    assert error["message"].startswith("ears transcribes speech only")


def test_a_key_has_so_many_pieces_at_once(served: Served) -> None:
    key = served.new_key(limits=KeyLimits(concurrent=1))
    with httpx.Client(base_url=served.url, headers={"X-API-Key": key}) as client:
        assert asked(client, tone(29)).status_code == 200
        error = assert_error(asked(client, tone(61)), 400, "INVALID_PARAMETER", "file")
    assert "enough for 30 seconds" in error["message"]


def test_a_client_that_leaves_is_billed_what_was_heard(served: Served) -> None:
    with httpx.Client(base_url=served.url, headers=served.headers) as client:
        files = {"file": ("a.wav", tone(3.0))}
        data = {"model": "slow", "stream": "true"}
        with client.stream("POST", PATH, data=data, files=files) as answer:
            next(answer.iter_lines())

    def of_slow() -> list[dict[str, Any]]:
        return [each for each in read_records(served.data_dir) if each["alias"] == "slow"]

    wait_until(of_slow, "its record")
    [record] = of_slow()
    assert record["end"] == "client_left"
    assert record["prompt_tokens"] == 150
    assert 1 <= record["completion_tokens"] < 5


def test_a_field_in_both_forms_is_an_array(client: httpx.Client, wav: bytes) -> None:
    data = {"model": "ears", "language": "en", "language[]": "en"}
    answer = client.post(PATH, data=data, files={"file": ("a.wav", wav)})
    assert_error(answer, 400, "INVALID_PARAMETER", "language")


def test_what_comes_behind_a_form_has_a_bound(served: Served, wav: bytes) -> None:
    form = httpx.Request("POST", "http://x", data={"model": "ears"}, files={"file": ("a", wav)})

    def endless() -> Iterator[bytes]:
        yield form.read()
        for _ in range(64):
            yield b"x" * 2**20

    headers = served.headers | {"content-type": form.headers["content-type"]}
    with httpx.Client(base_url=served.url, headers=headers, timeout=60) as client:
        answer = client.post(PATH, content=endless())
    assert_error(answer, 413, "REQUEST_TOO_LARGE", "file")


def test_what_a_player_plays_is_heard(client: httpx.Client) -> None:
    one = encoded(tone(2.0, rate=44_100), "mp3", "mp3", 44_100)
    joined = asked(client, one + one)
    assert joined.status_code == 200, joined.text
    assert joined.json()["usage"]["seconds"] in (4, 5)
    damaged = one[: len(one) // 2] + b"\x00" * 300 + one[len(one) // 2 + 300 :]
    assert asked(client, damaged).status_code == 200
    rates = b"".join(
        encoded(tone(1.0, rate=rate), "adts", "aac", rate) for rate in (48_000, 16_000)
    )
    assert asked(client, rates).json()["usage"]["seconds"] in (2, 3)


def test_its_deadline_counts_from_before_it_is_decoded(
    served: Served, client: httpx.Client
) -> None:
    late = client.post(
        PATH,
        data={"model": "ears"},
        files={"file": ("a.wav", tone(60))},
        headers={"X-Request-Timeout": "0.01"},
    )
    assert_error(late, 504, "REQUEST_TIMEOUT", None)
    wrong = client.post(
        PATH,
        data={"model": "ears"},
        files={"file": ("a.wav", tone(1))},
        headers={"X-Request-Timeout": "abc"},
    )
    assert wrong.status_code == 400
    assert HELD.bytes == 0
