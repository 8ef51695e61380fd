"""Inputs of embeddings that are cut where a client asks for that; and texts no context holds."""

from typing import Any, Final

import httpx
import pytest

from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

PATHS: Final = ("/v1/embeddings", "/v1/llm/embeddings")
LONG: Final = " ".join(str(i) for i in range(20))

served = server_of(
    scripted("v", task="embed", context_tokens=8),
    scripted("m", context_tokens=8, output_tokens=4),
)
everywhere = pytest.mark.parametrize("path", PATHS)


def vectors(client: httpx.Client, path: str = PATHS[0], **fields: Any) -> tuple[Any, int]:
    r = client.post(path, json={"model": "v", "input": LONG} | fields)
    assert r.status_code == 200, r.text
    return [item["embedding"] for item in r.json()["data"]], r.json()["usage"]["prompt_tokens"]


@everywhere
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"truncate_prompt_tokens": 3}, "0 1 2"),
        ({"truncate_prompt_tokens": 1}, "0"),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, "0 1 2"),
        ({"truncate_prompt_tokens": 8}, "0 1 2 3 4 5 6 7"),
        ({"truncate_prompt_tokens": -1}, "0 1 2 3 4 5 6 7"),
        ({"truncate": True}, "0 1 2 3 4 5 6 7"),
        ({"truncate": "END"}, "0 1 2 3 4 5 6 7"),
        ({"truncate": True, "truncate_prompt_tokens": 2}, "0 1"),
    ],
)
def test_a_long_input_is_cut(
    client: httpx.Client, path: str, fields: dict[str, Any], text: str
) -> None:
    assert vectors(client, path, **fields) == vectors(client, input=text)
    two = vectors(client, path, input=[LONG, "short"], **fields)
    assert two[1] == len(text.split()) + 1


@everywhere
@pytest.mark.parametrize(
    "fields",
    [
        {"truncate_prompt_tokens": 2, "truncation_side": "left"},
        {"truncate_prompt_tokens": 2, "truncate": "START"},
    ],
)
def test_it_may_be_cut_at_its_beginning(
    client: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    assert vectors(client, path, **fields) == vectors(client, input=" 18 19")
    ids = vectors(client, path, input=[1, 2, 3], **fields)
    assert ids == vectors(client, input=[2, 3])


@everywhere
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"truncate": False},
        {"truncate": "NONE"},
        {"truncate": None, "truncate_prompt_tokens": None},
        {"truncation_side": "left"},
        {"truncate_prompt_tokens": 9},
    ],
)
def test_what_is_still_too_long_is_told(
    client: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    r = client.post(path, json={"model": "v", "input": LONG} | fields)
    assert_error(r, 400, "CONTEXT_LENGTH_EXCEEDED", "input")


@everywhere
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 2**31}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": True}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": "1"}, "truncate_prompt_tokens"),
        ({"truncate_prompt_tokens": 1.5}, "truncate_prompt_tokens"),
        ({"truncation_side": "middle"}, "truncation_side"),
        ({"truncate": "end"}, "truncate"),
        ({"truncate": 1}, "truncate"),
        ({"truncate": False, "truncate_prompt_tokens": 3}, "truncate"),
        ({"truncate": "START", "truncation_side": "right"}, "truncate"),
    ],
)
def test_what_cuts_nothing_right_is_refused(
    client: httpx.Client, path: str, fields: dict[str, Any], field: str
) -> None:
    r = client.post(path, json={"model": "v", "input": LONG} | fields)
    assert_error(r, 400, "INVALID_PARAMETER", field)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_token_of_a_prompt_is_no_prompt(client: httpx.Client, path: str, stream: bool) -> None:
    said = [{"role": "user", "content": LONG}]
    asked = {"prompt": LONG} if path == "/v1/completions" else {"messages": said}
    body = {"model": "m", "stream": stream, "max_tokens": 1, "truncate_prompt_tokens": 0} | asked
    assert_error(client.post(path, json=body), 400, "INVALID_PARAMETER", "truncate_prompt_tokens")
