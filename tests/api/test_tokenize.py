"""POST /v1/tokenize counts as a request would be counted, and costs nothing."""

from typing import Any

import httpx
import pytest

from tests.support.serving import Served, read_records, scripted, server_of
from tests.support.wire_checks import assert_error

MESSAGES = [{"role": "user", "content": "Hi you there"}]

served = server_of(
    scripted("m", context_tokens=1000),
    scripted("prompted", system_prompt="Be kind."),
    scripted("vectors", task="embed"),
)


@pytest.mark.parametrize("model", ["m", "prompted"])
def test_the_count_is_what_the_request_is_billed(client: httpx.Client, model: str) -> None:
    ask = {"model": model, "messages": MESSAGES}
    counted = client.post("/v1/tokenize", json=ask).json()
    billed = client.post("/v1/chat/completions", json=ask).json()["usage"]["prompt_tokens"]
    assert counted["count"] == billed == len(counted["tokens"])
    assert all(isinstance(t, int) for t in counted["tokens"])


def test_a_prompt_is_counted_as_it_is(client: httpx.Client) -> None:
    body = client.post("/v1/tokenize", json={"model": "m", "prompt": "one two"}).json()
    assert body.pop("tokens")
    assert body == {"model": "m", "count": 2, "max_model_len": 1000}


@pytest.mark.parametrize("count", [65_536, 65_537, 140_000])
def test_many_tokens_come_whole_and_in_their_order(client: httpx.Client, count: int) -> None:
    def counted(words: list[str]) -> list[int]:
        body = {"model": "m", "prompt": " ".join(words)}
        tokens: list[int] = client.post("/v1/tokenize", json=body).json()["tokens"]
        return tokens

    few = counted([f"w{number}" for number in range(100)])
    many = counted([f"w{number % 100}" for number in range(count)])
    assert len(many) == count
    assert many[1:100] == few[1:]
    assert all(many[begin + 1 : begin + 100] == few[1:] for begin in range(0, count - 100, 10_000))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "messages"),
        ({"messages": MESSAGES, "prompt": "x"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": MESSAGES, "reasoning_effort": "high"}, "reasoning_effort"),
        ({"prompt": "x", "model": "vectors"}, "model"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, change: dict[str, Any], field: str) -> None:
    r = client.post("/v1/tokenize", json={"model": "m"} | change)
    error = assert_error(r, 400, "INVALID_PARAMETER", field)
    assert error["details"]["expected"]


def test_counting_leaves_no_record(served: Served, client: httpx.Client) -> None:
    body = {"model": "m", "prompt": "x", "user": "counter"}
    assert client.post("/v1/tokenize", json=body).status_code == 200
    assert not [r for r in read_records(served.data_dir) if r["user"] == "counter"]
    assert 'fjord_requests_total{alias="m",endpoint="tokenize",status="200"}' in (
        client.get("/metrics").text
    )
