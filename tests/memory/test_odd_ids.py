"""Ids that no database takes, of what is kept: not there, on a node and at a site alike."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from server.memory.site_key import made_site_key
from tests.support.serving import scripted, serving, wait_until
from tests.support.sites import new_site, postgres_server
from tests.support.wire_checks import assert_error

ODD = ["a\0b", "\0", "resp_\0", "\ud800", "x" * 5000, "é" * 300]


@pytest.fixture(scope="module", params=["node", "site"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        settings: dict[str, Any] = {}
        if request.param == "site":
            made_site_key(folder / "site.key")
            url = new_site(stack.enter_context(postgres_server()))
            settings = {"ledger_url": url, "memory_key": folder / "site.key"}
        served = stack.enter_context(serving(folder / "data", scripted("m"), settings=settings))
        made = httpx.Client(base_url=served.url, headers=served.headers, timeout=60)
        stack.enter_context(made)
        wait_until(lambda: asked(made), "something is kept")
        yield made


def asked(client: httpx.Client) -> bool:
    return client.post("/v1/responses", json={"model": "m", "input": "hi"}).status_code == 200


def quoted(odd: str) -> str:
    return quote(odd.encode("utf-8", "surrogatepass"), safe="")


@pytest.fixture(scope="module")
def conversation(client: httpx.Client) -> str:
    return f"/v1/conversations/{client.post('/v1/conversations', json={}).json()['id']}"


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd)[:12])
def test_there_is_none_of_that_id(client: httpx.Client, conversation: str, odd: str) -> None:
    name = quoted(odd)
    one, other = f"/v1/responses/{name}", f"/v1/conversations/{name}"
    item, message = f"{conversation}/items/{name}", {"role": "user", "content": "x"}
    answers = [
        *(client.get(path) for path in (one, other, item, f"{one}/input_items", f"{other}/items")),
        *(client.get(f"/v1/{kind}/{name}") for kind in ("files", "batches", "models")),
        *(client.delete(path) for path in (one, other, item, f"/v1/files/{name}")),
        *(client.post(f"{path}/cancel") for path in (one, f"/v1/batches/{name}")),
        client.post(other, json={"metadata": {}}),
        client.post(f"{other}/items", json={"items": [message]}),
    ]
    assert {answer.status_code for answer in answers} == {404}, [a.text[:200] for a in answers]
    for answer in answers:
        assert answer.json()["error"]["code"] in ("NOT_FOUND", "MODEL_NOT_FOUND")
        assert len(answer.content) < 1000
    for path in (f"{conversation}/items", "/v1/files", "/v1/batches"):
        assert_error(client.get(f"{path}?after={name}"), 400, "INVALID_PARAMETER", "after")


@pytest.mark.parametrize("odd", ["a\0b", "x" * 5000], ids=lambda odd: ascii(odd)[:12])
def test_nor_may_one_be_gone_on_from(client: httpx.Client, odd: str) -> None:
    asked = {"model": "m", "input": "hi"}
    for field, value in (
        ("previous_response_id", odd),
        ("conversation", odd),
        ("conversation", {"id": odd}),
        ("input", [{"type": "item_reference", "id": odd}]),
    ):
        answer = client.post("/v1/responses", json={**asked, field: value})
        assert answer.status_code in (400, 404), answer.text[:200]
        assert len(answer.content) < 1000
    for body in ({**asked, "metadata": {"k": "a\0b"}}, {**asked, "user": "a\0b"}):
        assert client.post("/v1/responses", json=body).status_code in (200, 400)
    file = {"input_file_id": odd, "endpoint": "/v1/responses", "completion_window": "24h"}
    assert client.post("/v1/batches", json=file).status_code in (400, 404)
