"""`also_known_as`: a model asked for by another name is the same model, and is called as asked."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.registry.registry import RegistryError, load_registry
from tests.support.registries import SHIPPED, load
from tests.support.serving import Served, make_key, read_records, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error, events

CHAT = {"messages": [{"role": "user", "content": "Say it"}]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": "Say it"},
    "/v1/responses": {"input": "Say it"},
    "/v1/tokenize": {"prompt": "Say it"},
}

served = server_of(
    scripted("big", also_known_as=("qwen3", "claude-*")),
    scripted("small", also_known_as=("claude-haiku-*",)),
    scripted("vectors", task="embed", also_known_as=("text-embedding-*",)),
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("name", "alias"),
    [("qwen3", "big"), ("claude-x", "big"), ("claude-", "big"), ("claude-haiku-5", "small")],
)
def test_an_answer_is_called_as_it_was_asked_for_and_billed_as_its_alias(
    served: Served, client: httpx.Client, path: str, name: str, alias: str
) -> None:
    answer = client.post(path, json=PATHS[path] | {"model": name})
    assert answer.status_code == 200
    assert answer.json()["model"] == name
    if path != "/v1/tokenize":
        assert read_records(served.data_dir)[-1]["alias"] == alias


def test_so_is_each_chunk_of_a_stream(client: httpx.Client) -> None:
    asked = CHAT | {"model": "claude-x", "stream": True}
    chunks = events(client.post("/v1/chat/completions", json=asked).text)
    assert {chunk["model"] for chunk in chunks} == {"claude-x"}


def test_embeddings_too(client: httpx.Client) -> None:
    body = {"model": "text-embedding-3-small", "input": "word"}
    assert client.post("/v1/embeddings", json=body).json()["model"] == "text-embedding-3-small"


@pytest.mark.parametrize("name", ["qwen", "qwen33", "Qwen3", "claude", "claude-" + "x" * 200, "*"])
def test_what_nobody_is_called_is_unknown(client: httpx.Client, name: str) -> None:
    answer = client.post("/v1/chat/completions", json=CHAT | {"model": name})
    assert_error(answer, 404, "MODEL_NOT_FOUND", "model")
    assert len(answer.content) < 600


def test_the_list_shows_aliases_and_one_model_is_found_by_each_name(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["big", "small", "vectors"]
    assert client.get("/v1/models/qwen3").json() == listed[0] | {"id": "qwen3"}


def test_a_key_limited_to_an_alias_may_use_its_other_names(served: Served) -> None:
    key = make_key(served.data_dir, models=frozenset({"big"}))
    with httpx.Client(base_url=served.url, headers={"X-API-Key": key}) as limited:
        wait_until(lambda: limited.get("/v1/models").is_success, "the key is known")

        def status(name: str) -> int:
            asked = CHAT | {"model": name}
            return limited.post("/v1/chat/completions", json=asked).status_code

        assert (status("qwen3"), status("claude-haiku-5")) == (200, 403)


def test_a_key_made_for_another_name_is_for_its_alias(served: Served) -> None:
    headers = {"X-API-Key": make_key(served.data_dir, service="admin")}
    with httpx.Client(base_url=served.url, headers=headers) as admin:
        wait_until(lambda: admin.get("/admin/v1/keys").is_success, "the key is known")
        asked = {"name": "k", "owner": "o", "models": ["qwen3", "small", "elsewhere"]}
        made = admin.post("/admin/v1/keys", json=asked).json()
        assert made["models"] == ["big", "elsewhere", "small"]
        path = f"/admin/v1/keys/{made['key_id']}"
        assert admin.patch(path, json={"models": ["claude-haiku-9"]}).json()["models"] == ["small"]
        assert admin.patch(path, json={"name": "n"}).json()["models"] == ["small"]


@pytest.mark.parametrize(
    ("of_one", "of_two", "complaint"),
    [
        ("[two]", "[]", r"'also_known_as.0': 'two' is 'two' already"),
        ("[a, one]", "[]", r"'also_known_as.1': 'one' is 'one' already"),
        ("[x]", "[y, x]", r"model 'two', key 'also_known_as.1': 'x' is 'one' already"),
        ("['x-*']", "['x-*']", r"'x-\*' is 'one' already"),
        ("['x*y']", "[]", r"is wrong"),
        ("['*']", "[]", r"is wrong"),
        ("x", "[]", r"is wrong"),
    ],
)
def test_two_claims_on_a_name_stop_the_start(
    tmp_path: Path, of_one: str, of_two: str, complaint: str
) -> None:
    text = "models:\n" + "".join(
        f"  {alias}:\n    source: owner/name\n    context: 32K\n    output: 4K\n"
        f"    also_known_as: {names}\n"
        for alias, names in (("one", of_one), ("two", of_two))
    )
    with pytest.raises(RegistryError, match=complaint):
        load(tmp_path, text + "profiles:\n  p: {}\n")


@pytest.mark.parametrize("profile", ["cuda", "small", "embedded"])
def test_the_shipped_registry_knows_the_families(profile: str) -> None:
    names = load_registry(SHIPPED, profile).names
    found = {name: names.find(name) for name in ("qwen3", "deepseek", "llama", "mixtral")}
    assert {name: spec and spec.alias for name, spec in found.items()} == {
        "qwen3": "qwen3-80b-instruct",
        "deepseek": "deepseek-v3",
        "llama": "llama-3.1-405b",
        "mixtral": "mixtral-8x7b",
    }
