"""Ollama's lists, embeddings, and what is the operator's alone."""

from datetime import datetime
from typing import Any

import httpx
import pytest

from engines.base import Reasoning
from tests.support.serving import Served, read_records, scripted, server_of

served = server_of(
    scripted("m", tool_parser="hermes", defaults={"temperature": 0.3}),
    scripted("thinks", reasoning=Reasoning(), reasoning_text="So."),
    scripted("cold", load="demand"),
    scripted("vectors", task="embed", context_tokens=8, output_tokens=1),
)


def test_tags_are_the_models_of_the_key(client: httpx.Client, served: Served) -> None:
    models = client.get("/api/tags").json()["models"]
    assert [m["name"] for m in models] == ["m", "thinks", "cold", "vectors"]
    for model in models:
        assert model["model"] == model["name"]
        assert len(model["digest"]) == 64
        assert datetime.fromisoformat(model["modified_at"]).tzinfo is not None
    key = served.new_key(models=["thinks"])
    few = client.get("/api/tags", headers={"X-API-Key": key}).json()["models"]
    assert [m["name"] for m in few] == ["thinks"]
    running = client.get("/api/ps", headers={"X-API-Key": key}).json()["models"]
    assert {m["name"] for m in running} <= {"thinks"}


def test_ps_has_what_serves(client: httpx.Client) -> None:
    client.post("/api/chat", json={"model": "m"})
    running = {m["name"]: m for m in client.get("/api/ps").json()["models"]}
    assert "m" in running
    assert running["m"]["context_length"] == 32768
    assert running["m"]["size_vram"] >= 0
    assert datetime.fromisoformat(running["m"]["expires_at"]).year == 9999


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("m", ["completion", "tools"]),
        ("thinks", ["completion", "thinking"]),
        ("vectors", ["embedding"]),
    ],
)
def test_show_says_what_a_model_is_able_to_do(
    client: httpx.Client, name: str, able: list[str]
) -> None:
    for body in ({"model": name}, {"name": name}, {"model": f"{name}:latest"}):
        shown = client.post("/api/show", json=body).json()
        assert shown["capabilities"] == able
        family = shown["model_info"]["general.architecture"]
        assert shown["model_info"][f"{family}.context_length"] > 0
    if name == "m":
        assert shown["parameters"].split() == ["temperature", "0.3"]


def test_the_version_is_numbers(client: httpx.Client) -> None:
    parts = client.get("/api/version").json()["version"].split(".")
    assert [int(part) for part in parts] > [0, 6, 4]


def test_pull_is_done_where_it_is_served(client: httpx.Client) -> None:
    assert client.post("/api/pull", json={"model": "m"}).json() == {"status": "success"}
    answer = client.post("/api/pull", json={"model": "llama3"})
    assert answer.status_code == 404
    assert "this key may use: m, thinks" in answer.json()["error"]
    nobody = client.post("/api/pull", json={})
    assert (nobody.status_code, nobody.json()["error"]) == (400, "Missing required field: model.")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/delete"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("POST", "/api/push"),
    ],
)
def test_models_are_the_operators(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, json={"model": "m"})
    assert answer.status_code == 403
    assert "fjord apply" in answer.json()["error"]
    other = client.request("POST" if method == "DELETE" else "DELETE", path, json={})
    assert (other.status_code, other.headers["allow"]) == (405, method)
    assert list(other.json()) == ["error"]


def test_embed_makes_a_vector_for_each(client: httpx.Client, served: Served) -> None:
    before = len(read_records(served.data_dir))
    one = client.post("/api/embed", json={"model": "vectors", "input": "a"}).json()
    two = client.post("/api/embed", json={"model": "vectors", "input": ["a", "b"]}).json()
    assert one["embeddings"] == two["embeddings"][:1]
    assert len(two["embeddings"]) == 2
    old = client.post("/api/embeddings", json={"model": "vectors", "prompt": "a"}).json()
    assert old == {"embedding": one["embeddings"][0]}
    records = read_records(served.data_dir)[before:]
    tokens = [r["prompt_tokens"] for r in records]
    assert tokens[:2] == [one["prompt_eval_count"], two["prompt_eval_count"]]
    assert {r["endpoint"] for r in records} == {"ollama"}


def test_a_long_text_is_cut_unless_that_is_forbidden(client: httpx.Client) -> None:
    asked: dict[str, Any] = {"model": "vectors", "input": "word " * 50}
    assert client.post("/api/embed", json=asked).json()["prompt_eval_count"] == 8
    whole = client.post("/api/embed", json=asked | {"truncate": False})
    assert whole.status_code == 400
    assert "maximum context length is 8" in whole.json()["error"]


@pytest.mark.parametrize(
    "asked",
    [
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": 5},
        {"input": ["a"] * 2049},
        {"input": "a", "dimensions": 0},
        {"input": "a", "keep_alive": "x"},
        {"input": "a", "model": "m"},
    ],
    ids=str,
)
def test_what_is_no_input(client: httpx.Client, asked: dict[str, Any]) -> None:
    answer = client.post("/api/embed", json={"model": "vectors"} | asked)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
