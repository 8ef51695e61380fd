"""A model that no request loads: refused by every endpoint alike, whole and streamed."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.serving import read_records, scripted, server_of
from tests.support.wire_checks import assert_error

PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "go"}]},
    "/v1/completions": {"prompt": "go"},
    "/v1/responses": {"input": "go"},
    "/v1/embeddings": {"input": "go", "model": "e"},
    "/v1/tokenize": {"prompt": "go"},
}
STREAMS = ["/v1/chat/completions", "/v1/completions", "/v1/responses"]

served = server_of(scripted("m", load="never"), scripted("e", load="never", task="embed"))


@pytest.mark.parametrize(
    ("path", "stream"), [*((p, False) for p in PATHS), *((p, True) for p in STREAMS)]
)
def test_what_no_request_loads_is_refused_at_once_and_not_to_be_asked_again(
    client: httpx.Client, path: str, stream: bool
) -> None:
    body = {"model": "m", **PATHS[path], **({"stream": True} if stream else {})}
    r = client.post(path, json=body)
    error = assert_error(r, 503, "MODEL_UNAVAILABLE")
    assert "only the server's operator can load it" in error["message"]
    assert "retry-after" not in r.headers


def test_it_costs_nothing_and_builds_nothing(client: httpx.Client, served: Any) -> None:
    client.post("/v1/completions", json={"model": "m", "prompt": "go"})
    assert served.engines == []
    assert {record["amount"] for record in read_records(Path(served.data_dir))} == {0}
    assert client.get("/ready").status_code == 200
