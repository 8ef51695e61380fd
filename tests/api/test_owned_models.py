"""A model of certain owners: to everybody else it is an unknown one, on every endpoint."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from engines.registry.registry import load_registry
from server.ledger.database import SqliteDatabase
from server.ledger.sqlite import prepared_ledger
from tests.support.serving import Served, scripted, server_of, serving
from tests.support.tenants import new_owner
from tests.support.wire_checks import assert_error

served = server_of(
    scripted("everybodys"),
    scripted("theirs", owners=frozenset({"acme", "others"})),
    scripted("theirs-vectors", task="embed", owners=frozenset({"acme"})),
)
ASK = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def acme(served: Served) -> Iterator[httpx.Client]:
    with of_owner(served, "acme") as client:
        yield client


def of_owner(served: Served, owner: str, **fields: object) -> httpx.Client:
    key = served.new_key(owner=owner, **fields)
    return httpx.Client(base_url=served.url, headers={"X-API-Key": key})


def test_its_owners_use_it(acme: httpx.Client) -> None:
    assert acme.post("/v1/chat/completions", json=ASK | {"model": "theirs"}).status_code == 200
    body = {"model": "theirs-vectors", "input": "x"}
    assert acme.post("/v1/embeddings", json=body).status_code == 200
    ids = [model["id"] for model in acme.get("/v1/models").json()["data"]]
    assert ids == ["everybodys", "theirs", "theirs-vectors"]
    assert acme.get("/v1/models/theirs").status_code == 200


def test_each_owner_has_its_own(served: Served) -> None:
    with of_owner(served, "others") as client:
        assert client.get("/v1/models/theirs").status_code == 200
        assert client.get("/v1/models/theirs-vectors").status_code == 404


def test_an_owner_may_be_named_by_its_id(tmp_path: Path) -> None:
    with closing(SqliteDatabase(prepared_ledger(tmp_path))) as books:
        ids = {name: new_owner(books, name).owner_id for name in ("acme", "others")}
    theirs = scripted("theirs", owners=frozenset({ids["acme"]}))
    with serving(tmp_path, theirs) as served:
        for owner, status in (("acme", 200), ("others", 404)):
            with of_owner(served, owner) as client:
                assert client.get("/v1/models/theirs").status_code == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASK),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", ASK | {"max_tokens": 4}),
        ("/v1/tokenize", {"prompt": "x"}),
        ("/v1/embeddings", {"input": "x"}),
    ],
)
def test_to_others_it_is_unknown(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    asked, unknown = (
        client.post(path, json=body | {"model": model}) for model in ("theirs", "nobodys")
    )
    assert asked.status_code == unknown.status_code == 404
    said = asked.text.replace("theirs", "nobodys")
    ids = (asked.json().get("request_id", ""), unknown.json().get("request_id", ""))
    assert said.replace(ids[0], ids[1]) == unknown.text if ids[0] else said == unknown.text


def test_to_others_it_is_in_no_list(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["everybodys"]
    assert_error(client.get("/v1/models/theirs"), 404, "MODEL_NOT_FOUND", "model")
    tags = client.get("/api/tags").json()["models"]
    assert [model["model"] for model in tags] == ["everybodys"]


def test_a_key_that_is_limited_to_it_needs_its_owner_too(served: Served) -> None:
    with of_owner(served, "tests", models=frozenset({"theirs"})) as client:
        answer = client.post("/v1/chat/completions", json=ASK | {"model": "theirs"})
    assert_error(answer, 404, "MODEL_NOT_FOUND", "model")


def test_the_registry_says_whose(tmp_path: Path) -> None:
    path = tmp_path / "model_registry.yaml"
    path.write_text(
        "models:\n"
        "  a: {source: echo, engine: scripted, context: 4K, output: 1K, owners: [acme, b c]}\n"
        "  b: {source: echo, engine: scripted, context: 4K, output: 1K}\n"
    )
    models = load_registry(path, None).models
    assert models["a"].owners == {"acme", "b c"}
    assert models["b"].owners == frozenset()
