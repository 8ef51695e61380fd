"""5,000 seeded random bodies give 200 or the documented error body, nothing else."""

import http.client
import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from engines.base import Reasoning
from tests.support.mutants import body
from tests.support.serving import Served, scripted, server_of

CASES = 5_000
CLIENTS = 4
CODES = {
    400: {"INVALID_PARAMETER", "CONTEXT_LENGTH_EXCEEDED"},
    404: {"MODEL_NOT_FOUND"},
}
BROKEN_FORM = "The answer ended without the form that was asked for"
"""A scripted engine's answer is its script, whatever form a body asks for."""
SMALL = {"output_tokens": 64}
UNLIMITED = {"requests_per_minute": 10**6, "concurrent": 100}
served = server_of(
    scripted("m", tool_parser="hermes", **SMALL),
    scripted(
        "thinks",
        reasoning=Reasoning(),
        reasoning_text="I think.",
        reasoning_efforts={"low": {}},
        **SMALL,
    ),
    scripted("vectors", task="embed", dimensions=(4,), **SMALL),
    scripted("ranks", task="rerank", **SMALL),
    settings=UNLIMITED,
)


def sent(served: Served, connection: http.client.HTTPConnection, path: str, raw: bytes) -> int:
    """Send a body; returns the status after checking that the answer is a documented one."""
    headers = {"X-API-Key": served.key, "Content-Type": "application/json"}
    connection.request("POST", path, raw, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status == 200:
        assert_answer(response.getheader("Content-Type", ""), answer)
    else:
        assert_error(response.status, json.loads(answer))
    return response.status


def assert_answer(kind: str, answer: bytes) -> None:
    if kind.startswith("text/event-stream"):
        assert answer.endswith(b"\n\n")
        assert b'"error":{' not in answer or BROKEN_FORM.encode() in answer
    else:
        assert set(json.loads(answer)) & {"choices", "output", "data", "results", "tokens"}


def assert_error(status: int, answer: dict[str, Any]) -> None:
    error = answer["error"]
    if status == 500:
        assert error["message"].startswith(BROKEN_FORM), answer
        return
    assert error["code"] in CODES[status], answer
    assert error["type"] == "invalid_request_error"
    assert answer["detail"] == error["message"] != ""
    if error["code"] == "INVALID_PARAMETER":
        assert set(error["details"]) == {"field", "provided", "expected"}
        assert error["details"]["expected"], answer
        assert error["param"] == error["details"]["field"]


def run(served: Served, client: int) -> Counter[int]:
    rng = random.Random(f"fjord {client}")
    host = served.url.removeprefix("http://")
    statuses: Counter[int] = Counter()
    with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
        for number in range(CASES // CLIENTS):
            path, raw = body(rng)
            try:
                statuses[sent(served, connection, path, raw)] += 1
            except Exception as error:
                raise AssertionError(f"body {number} of {client}, {path}: {raw!r}") from error
    return statuses


@pytest.mark.slow  # some 5 s of processor time
def test_any_body_gets_an_answer_or_the_documented_error(served: Served) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        results = list(pool.map(lambda client: run(served, client), range(CLIENTS)))
    statuses = sum(results, Counter())
    assert statuses.total() == CASES
    assert statuses[200] > CASES / 10, statuses  # the mutants are not all hopeless
    assert statuses[400] > CASES / 3, statuses
    assert len(served.services.supervisor) == 0
