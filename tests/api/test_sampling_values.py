"""Numbers that 32 bits cannot hold apart from nothing: no engine divides by one."""

from typing import Any

import httpx
import pytest

from engines.base import Sampling
from server.api.chat.sampling import sampling
from server.api.completions import CompletionRequest
from tests.support.serving import scripted, server_of
from tests.support.wire_checks import assert_error

served = server_of(scripted("m"))
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
}


def drawn(n: int = 1, defaults: dict[str, Any] | None = None, **fields: Any) -> Sampling:
    wire = CompletionRequest.model_validate({"model": "m", "prompt": "Hi"} | fields)
    return sampling(wire, scripted("m", defaults=defaults or {}), max_tokens=1, n=n)


@pytest.mark.parametrize("cold", [0, 1e-320, 1e-45, 1e-38, 9.9e-6])
def test_next_to_no_temperature_is_greedy(cold: float) -> None:
    assert drawn(temperature=cold).temperature == 0
    assert drawn(defaults={"temperature": cold}).temperature == 0
    several = drawn(n=2, temperature=cold)
    assert (several.temperature, several.top_k) == (1, 1)


@pytest.mark.parametrize("thin", [0, 1e-320, 1e-45, 9.9e-8])
def test_next_to_no_mass_is_the_likeliest_token(thin: float) -> None:
    of_little = drawn(top_p=thin, top_k=40)
    assert (of_little.top_p, of_little.top_k) == (1, 1)


def test_a_small_number_is_itself() -> None:
    small = drawn(temperature=1e-5, top_p=1e-7, top_k=40)
    assert (small.temperature, small.top_p, small.top_k) == (1e-5, 1e-7, 40)


@pytest.mark.parametrize("path", PATHS)
def test_no_logit_is_divided_by_next_to_nothing(client: httpx.Client, path: str) -> None:
    body = {"model": "m", **PATHS[path]}
    for refused in (0, 1e-320, 1e-38, 0.0099):
        r = client.post(path, json=body | {"repetition_penalty": refused})
        assert_error(r, 400, "INVALID_PARAMETER", "repetition_penalty")
        assert r.json()["error"]["details"]["expected"] == "a number from 0.01 to 2"
    assert client.post(path, json=body | {"repetition_penalty": 0.01}).status_code == 200
