"""Ollama's API: its answers, whole and streamed, its errors, and what is billed."""

import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hei på deg"}]}
PROMPT: dict[str, Any] = {"model": "m", "prompt": "Hei på deg"}
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")

served = server_of(
    scripted("m", tool_parser="hermes", defaults={"temperature": 0.3}),
    scripted("long", text="word " * 200, output_tokens=64, token_delay_s=0.001),
    scripted("thinks", text="Oslo.", reasoning=Reasoning(), reasoning_text="Norway, so Oslo."),
    scripted("dies", text="word " * 100, die_after_tokens=12, token_delay_s=0.001),
    scripted("small", context_tokens=16, output_tokens=16),
    scripted("vectors", task="embed", context_tokens=8, output_tokens=1),
)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def said(line: dict[str, Any]) -> str:
    text = line["message"]["content"] if "message" in line else line["response"]
    assert isinstance(text, str)
    return text


def check_ending(last: dict[str, Any], *, tokens: int) -> None:
    assert last["done"] is True
    assert all(isinstance(last[name], int) and last[name] >= 0 for name in DURATIONS)
    assert last["total_duration"] >= last["eval_duration"]
    assert last["eval_count"] == tokens
    assert last["prompt_eval_count"] > 0
    assert datetime.fromisoformat(last["created_at"]).tzinfo is not None


@pytest.mark.parametrize(
    ("path", "body"), [("/api/chat", CHAT), ("/api/generate", PROMPT)], ids=["chat", "generate"]
)
class TestBoth:
    def test_a_stream_is_what_comes_unasked(
        self, client: httpx.Client, path: str, body: dict[str, Any]
    ) -> None:
        *pieces, last = lines(client.post(path, json=body))
        assert "".join(map(said, pieces)) == "Hei på deg"
        assert len(pieces) > 1
        assert all(piece["done"] is False and piece["model"] == "m" for piece in pieces)
        assert said(last) == ""
        assert last["done_reason"] == "stop"
        check_ending(last, tokens=len(pieces) + 1)

    def test_a_whole_answer_is_the_sum_of_its_stream(
        self, client: httpx.Client, path: str, body: dict[str, Any]
    ) -> None:
        answer = client.post(path, json=body | {"stream": False})
        assert answer.headers["content-type"] == "application/json"
        whole = answer.json()
        assert said(whole) == "Hei på deg"
        last = lines(client.post(path, json=body))[-1]
        check_ending(whole, tokens=last["eval_count"])
        assert set(last) - set(whole) == set()

    def test_what_is_counted_is_billed_once(
        self, client: httpx.Client, served: Served, path: str, body: dict[str, Any]
    ) -> None:
        before = len(read_records(served.data_dir))
        last = lines(client.post(path, json=body | {"user": "ola"}))[-1]
        record, *more = read_records(served.data_dir)[before:]
        assert not more
        assert (record["endpoint"], record["stream"], record["user"]) == ("ollama", 1, "ola")
        counts = (record["prompt_tokens"], record["completion_tokens"])
        assert counts == (last["prompt_eval_count"], last["eval_count"])

    @pytest.mark.parametrize("predict", [1, 5, 63, 64, 65, 2**31 - 1, 0, -1, -2, None])
    def test_num_predict_is_a_bound_and_never_a_refusal(
        self, client: httpx.Client, path: str, body: dict[str, Any], predict: int | None
    ) -> None:
        asked = body | {"model": "long", "options": {"num_predict": predict}}
        last = lines(client.post(path, json=asked))[-1]
        assert last["eval_count"] == (min(predict, 64) if predict and predict > 0 else 64)
        assert last["done_reason"] == "length"

    def test_nothing_said_loads_the_model(
        self, client: httpx.Client, served: Served, path: str, body: dict[str, Any]
    ) -> None:
        before = len(read_records(served.data_dir))
        empty = {"messages": [], "prompt": ""}[next(name for name in body if name != "model")]
        for asked in ({"model": "m"}, {"model": "m", "messages": empty, "keep_alive": "5m"}):
            answer = client.post(path, json=asked).json()
            assert (answer["done"], answer["done_reason"], said(answer)) == (True, "load", "")
        assert len(read_records(served.data_dir)) == before

    def test_nobody_unloads_what_others_use(
        self, client: httpx.Client, path: str, body: dict[str, Any]
    ) -> None:
        for off in (0, "0", "0s", 0.0):
            answer = client.post(path, json={"model": "m", "keep_alive": off})
            assert answer.status_code == 403
            assert "fjord models unload" in answer.json()["error"]

    def test_an_engine_that_dies_is_an_error_at_the_end(
        self, client: httpx.Client, served: Served, path: str, body: dict[str, Any]
    ) -> None:
        *pieces, last = lines(client.post(path, json=body | {"model": "dies"}))
        assert list(last) == ["error"]
        wait_until(lambda: read_records(served.data_dir)[-1]["end"] == "engine_died", "the record")
        assert read_records(served.data_dir)[-1]["completion_tokens"] >= len(pieces)

    def test_a_thought_is_told_apart(
        self, client: httpx.Client, path: str, body: dict[str, Any]
    ) -> None:
        asked = body | {"model": "thinks"}
        *pieces, _ = lines(client.post(path, json=asked))
        places = [piece.get("message", piece) for piece in pieces]
        assert "".join(place.get("thinking", "") for place in places) == "Norway, so Oslo."
        whole = client.post(path, json=asked | {"stream": False}).json()
        assert whole.get("message", whole)["thinking"] == "Norway, so Oslo."
        quiet = client.post(path, json=asked | {"stream": False, "think": False}).json()
        assert "thinking" not in quiet.get("message", quiet)

    def test_a_form_is_kept(self, client: httpx.Client, path: str, body: dict[str, Any]) -> None:
        schema = {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo"]}},
            "required": ["city"],
        }
        for form, kept in ((schema, {"city": "Oslo"}), ("json", {})):
            whole = client.post(path, json=body | {"stream": False, "format": form}).json()
            found = json.loads(said(whole))
            assert found == kept or isinstance(found, dict)
        assert said(client.post(path, json=body | {"stream": False, "format": ""}).json())

    def test_logprobs(self, client: httpx.Client, path: str, body: dict[str, Any]) -> None:
        asked = body | {"logprobs": True, "top_logprobs": 2}
        told = [
            p for line in lines(client.post(path, json=asked)) for p in line.get("logprobs", [])
        ]
        assert "".join(each["token"] for each in told) == "Hei på deg"
        assert all(len(each["top_logprobs"]) == 2 for each in told)
        whole = client.post(path, json=asked | {"stream": False}).json()
        assert [each["token"] for each in whole["logprobs"]] == [each["token"] for each in told]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"model": "no-such"}, 404, "Unknown model 'no-such'"),
        ({"model": "vectors"}, 400, "makes embeddings only"),
        ({"model": ""}, 400, "model"),
        ({"options": {"temperature": 2.1}}, 400, "options.temperature"),
        ({"options": {"temperature": -1}}, 400, "options.temperature"),
        ({"options": {"num_predict": -3}}, 400, "options.num_predict"),
        ({"options": {"num_predict": 2**31}}, 400, "options.num_predict"),
        ({"options": {"top_k": 1.5}}, 400, "options.top_k"),
        ({"options": {"stop": [""]}}, 400, "options.stop"),
        ({"options": {"mirostat": 2}}, 400, "options.mirostat"),
        ({"options": {"typical_p": 0.5}}, 400, "options.typical_p"),
        ({"options": {"repeat_penalty": 1.1, "repeat_last_n": 64}}, 400, "options.repeat_last_n"),
        ({"options": 5}, 400, "options"),
        ({"think": True}, 400, "does not think"),
        ({"think": "high"}, 400, "reasoning effort 'high'"),
        ({"think": "very"}, 400, "think"),
        ({"format": "xml"}, 400, "format"),
        ({"format": {"type": "no-such"}}, 400, ""),
        ({"keep_alive": "a while"}, 400, "keep_alive"),
        ({"keep_alive": "9" * 65}, 400, "keep_alive"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"truncate": True}, 400, "truncate"),
        ({"template": "{{ .Prompt }}"}, 400, "template"),
        ({"stream": "yes"}, 400, "stream"),
    ],
    ids=lambda x: "" if isinstance(x, str | int) else next(iter(x)),
)
def test_what_cannot_be_honoured_is_refused_in_ollamas_form(
    client: httpx.Client, path: str, asked: dict[str, Any], status: int, words: str
) -> None:
    body = (CHAT if path == "/api/chat" else PROMPT) | asked
    answer = client.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_fields_that_load_a_model_have_no_effect(client: httpx.Client) -> None:
    load = {"num_ctx": 2048, "num_gpu": 99, "use_mmap": True, "num_thread": 8, "num_keep": 4}
    options = {**load, "repeat_last_n": 64, "temperature": 0}
    asked = CHAT | {"options": options, "keep_alive": -1}
    assert said(client.post("/api/chat", json=asked | {"stream": False}).json()) == "Hei på deg"


def test_a_refusal_of_every_kind_has_the_one_form(client: httpx.Client, served: Served) -> None:
    bad = httpx.post(served.url + "/api/chat", json=CHAT)
    assert (bad.status_code, list(bad.json())) == (401, ["error"])
    wrong = client.get("/api/chat")
    assert (wrong.status_code, list(wrong.json())) == (405, ["error"])
    broken = client.post("/api/chat", content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, list(broken.json())) == (400, ["error"])
    huge = client.post("/api/generate", json=PROMPT | {"prompt": "x" * 9 * 2**20})
    assert (huge.status_code, list(huge.json())) == (413, ["error"])
    long = client.post("/api/generate", json=PROMPT | {"model": "small", "prompt": "x " * 40})
    assert (long.status_code, list(long.json())) == (400, ["error"])


def test_a_name_may_carry_the_tag_that_clients_add(client: httpx.Client) -> None:
    whole = client.post("/api/chat", json=CHAT | {"model": "m:latest", "stream": False})
    assert whole.json()["model"] == "m"


def test_a_prompt_may_be_raw(client: httpx.Client) -> None:
    raw = client.post("/api/generate", json=PROMPT | {"raw": True, "stream": False}).json()
    assert said(raw) == "Hei på deg"
    framed = client.post("/api/generate", json=PROMPT | {"system": "Be kind", "stream": False})
    assert framed.json()["prompt_eval_count"] > raw["prompt_eval_count"]
    both = client.post("/api/generate", json=PROMPT | {"raw": True, "system": "Be kind"})
    assert both.status_code == 400
    assert both.json()["error"] == "system has no place in a raw prompt."


def test_a_silent_stream_says_lines_that_clients_can_read(tmp_path: Any) -> None:
    slow = scripted("slow", text="a b", token_delay_s=1.2)
    with serving(tmp_path, slow, settings={"keep_alive_s": 0.2}) as server:
        answer = httpx.post(
            server.url + "/api/chat",
            json=CHAT | {"model": "slow"},
            headers=server.headers,
            timeout=60,
        )
        pieces = lines(answer)
    assert "".join(map(said, pieces)) == "a b"
    assert len([piece for piece in pieces if said(piece) == "" and not piece["done"]]) >= 2


@pytest.mark.parametrize(
    ("host", "asked", "is_there"),
    [
        ("127.0.0.1", None, True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("0.0.0.0", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_it_is_there_on_loopback_or_where_it_is_asked_for(
    tmp_path: Any, host: str, asked: bool | None, is_there: bool
) -> None:
    with serving(tmp_path, scripted("m"), settings={"host": host, "ollama": asked}) as server:
        answer = httpx.get(server.url + "/api/version", headers=server.headers)
        assert answer.status_code == (200 if is_there else 404)
        paths = httpx.get(server.url + "/openapi.json").json()["paths"]
        assert ("/api/chat" in paths) is is_there
