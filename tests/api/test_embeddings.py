"""The two embeddings endpoints as OpenAI's client uses them, on an engine with known vectors."""

import base64
import math
import struct
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.serving import Served, read_records, scripted, server_of, serving, wait_until
from tests.support.wire_checks import assert_error

PATHS = ["/v1/embeddings", "/v1/llm/embeddings"]
ASK: dict[str, Any] = {"model": "vectors", "input": "Hei på deg"}

served = server_of(
    scripted("m"),
    scripted("vectors", task="embed", context_tokens=20),
    scripted("matryoshka", task="embed", dimensions=(4, 8)),
    scripted("any-length", task="embed", dimensions="any"),
    scripted("dead", task="embed", fail_load="no weights here"),
)


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_has_exactly_openais_shape(client: httpx.Client, path: str) -> None:
    body = client.post(path, json=ASK).json()
    vector = body["data"][0].pop("embedding")
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}],
        "model": "vectors",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert math.isclose(sum(x * x for x in vector), 1.0)


def test_base64_holds_the_same_numbers_as_32_bit_floats(client: httpx.Client) -> None:
    floats = client.post(PATHS[0], json=ASK).json()["data"][0]["embedding"]
    text = client.post(PATHS[0], json=ASK | {"encoding_format": "base64"}).json()
    raw = base64.b64decode(text["data"][0]["embedding"])
    assert struct.unpack(f"<{len(floats)}f", raw) == pytest.approx(floats, rel=1e-6)


@pytest.mark.parametrize("encoding", ["float", "base64", openai.omit])
def test_openais_client_reads_either_encoding(sdk: openai.OpenAI, encoding: Any) -> None:
    found = sdk.embeddings.create(
        model="vectors", input=["one", "two words", "one"], encoding_format=encoding
    )
    assert [e.index for e in found.data] == [0, 1, 2]
    first, second, third = (e.embedding for e in found.data)
    assert first == third != second
    assert found.usage.prompt_tokens == 4


@pytest.mark.parametrize(
    ("given", "count", "tokens"),
    [("a b", 1, 2), (["a b", "c"], 2, 3), ([1, 2, 3], 1, 3), ([[1, 2], [3], [4]], 3, 4)],
    ids=["text", "texts", "ids", "id arrays"],
)
def test_every_form_of_input_has_its_vectors(
    client: httpx.Client, given: Any, count: int, tokens: int
) -> None:
    body = client.post(PATHS[0], json=ASK | {"input": given}).json()
    assert len(body["data"]) == count
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_dimensions_shorten_where_the_model_allows_it(client: httpx.Client) -> None:
    ask = {"model": "matryoshka", "input": "a b c"}
    whole = client.post(PATHS[0], json=ask).json()["data"][0]["embedding"]
    short = client.post(PATHS[0], json=ask | {"dimensions": 4}).json()["data"][0]["embedding"]
    length = math.sqrt(sum(x * x for x in whole[:4]))
    assert short == pytest.approx([x / length for x in whole[:4]])
    error = assert_error(
        client.post(PATHS[0], json=ask | {"dimensions": 5}), 400, "INVALID_PARAMETER", "dimensions"
    )
    assert error["details"] == {"field": "dimensions", "provided": 5, "expected": "one of 4, 8, 16"}
    assert_error(
        client.post(PATHS[0], json=ASK | {"dimensions": 4}), 400, "INVALID_PARAMETER", "dimensions"
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [["a"]]}, "input[0][0]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": None}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"region": "mars"}, "region"),
        ({"model": "m"}, "model"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, change: dict[str, Any], field: str) -> None:
    error = assert_error(client.post(PATHS[0], json=ASK | change), 400, "INVALID_PARAMETER", field)
    assert error["details"]["field"] == field
    assert error["details"]["expected"]


def test_a_model_for_vectors_does_not_chat(client: httpx.Client) -> None:
    body = {"model": "vectors", "messages": [{"role": "user", "content": "x"}]}
    r = client.post("/v1/chat/completions", json=body)
    error = assert_error(r, 400, "INVALID_PARAMETER", "model")
    assert error["details"]["expected"] == "one of m"


def test_an_input_over_the_context_is_refused_and_costs_nothing(
    served: Served, client: httpx.Client
) -> None:
    body = ASK | {"input": ["short", "word " * 30], "user": "too long"}
    r = client.post(PATHS[0], json=body)
    error = assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "input[1]")
    assert error["message"].endswith("20 tokens; input[1] resulted in 31 tokens.")
    assert error["details"] == {"prompt_tokens": 31, "max_tokens": None, "context_tokens": 20}
    records = [r for r in read_records(served.data_dir) if r["user"] == "too long"]
    assert [(r["end"], r["amount"]) for r in records] == [("rejected", 0)]


@pytest.mark.parametrize("given", ["word " * 30, list(range(31))])
def test_one_input_alone_has_no_index(client: httpx.Client, given: Any) -> None:
    r = client.post(PATHS[0], json=ASK | {"input": given})
    error = assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "input")
    assert error["message"].endswith("20 tokens; input resulted in 31 tokens.")


def test_token_arrays_have_one_too(client: httpx.Client) -> None:
    r = client.post(PATHS[0], json=ASK | {"input": [[1], [2], [3] * 21]})
    assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "input[2]")


@pytest.mark.parametrize("length", [1, 5, 15, 16])
def test_any_length_may_be_allowed(client: httpx.Client, length: int) -> None:
    ask = {"model": "any-length", "input": "a b c"}
    vector = client.post(PATHS[0], json=ask | {"dimensions": length}).json()["data"][0]["embedding"]
    assert len(vector) == length
    assert math.isclose(sum(x * x for x in vector), 1.0)
    r = client.post(PATHS[0], json=ask | {"dimensions": 17})
    error = assert_error(r, 400, "INVALID_PARAMETER", "dimensions")
    assert error["details"]["expected"] == "1 to 16"


def test_an_answer_leaves_one_record_with_tokens_and_price(
    served: Served, client: httpx.Client
) -> None:
    client.post(PATHS[1], json=ASK | {"user": "billed", "agent_id": "a1"})
    record = next(r for r in read_records(served.data_dir) if r["user"] == "billed")
    assert (record["endpoint"], record["end"], record["agent_id"]) == ("embeddings", "ok", "a1")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (3, 0)
    assert record["amount"] == 3 * 4


def test_a_model_that_cannot_load_is_a_503(client: httpx.Client) -> None:
    wait_until(
        lambda: client.post(PATHS[0], json=ASK | {"model": "dead"}).status_code == 503, "it fails"
    )
    r = client.post(PATHS[0], json=ASK | {"model": "dead"})
    assert_error(r, 503, "MODEL_UNAVAILABLE")
    assert int(r.headers["retry-after"]) >= 1


def test_a_deadline_ends_the_wait_for_a_model_with_what_is_known_of_it(tmp_path: Path) -> None:
    model = scripted("vectors", task="embed", load_s=30)
    with serving(tmp_path, model) as server, httpx.Client(headers=server.headers) as client:
        headers = {"X-Request-Timeout": "0.3"}
        r = client.post(server.url + PATHS[0], json=ASK, headers=headers)
        assert_error(r, 503, "MODEL_LOAD_TIMEOUT")
        assert r.json()["error"]["details"]["state"] == "starting"
    assert [(r["end"], r["amount"]) for r in read_records(tmp_path)] == [("rejected", 0)]


def test_a_client_that_leaves_ends_its_request(tmp_path: Path) -> None:
    model = scripted("vectors", task="embed", load_s=30)
    with serving(tmp_path, model) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + PATHS[0], json=ASK, headers=server.headers, timeout=0.5)
        wait_until(lambda: len(server.services.supervisor) == 0, "the request ends", 20)
    assert [r["end"] for r in read_records(tmp_path)] == ["client_left"]
