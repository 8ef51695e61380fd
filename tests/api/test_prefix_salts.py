"""Prompts in an engine's prefix cache: an owner's are found by its own keys alone, on each API."""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from engines.base import Delta, Embedding, GenerateRequest, Prompt, Score, Sink
from engines.fleet.prefixes import prefixes_of
from engines.registry.spec import ModelSpec
from engines.testing.scripted import ScriptedEngine
from server.accounts.prefix_salts import PrefixSalts
from tests.support.engine_fixtures import ask
from tests.support.serving import Served, scripted, serving

SEEN: list[tuple[str | None, tuple[str, ...]]] = []
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
GENERATING = (
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
    ("/v1/completions", {"model": "m", "prompt": ["Hi", "you"]}),
    ("/v1/responses", {"model": "m", "input": "Hi"}),
    ("/v1/messages", CHAT | {"max_tokens": 5}),
    ("/api/chat", CHAT),
    ("/api/generate", {"model": "m", "prompt": "Hi"}),
)
POOLING = (
    ("/v1/embeddings", {"model": "embeds", "input": ["a", "b"]}),
    ("/api/embed", {"model": "embeds", "input": "a"}),
    ("/v1/rerank", {"model": "ranks", "query": "a", "documents": ["b"]}),
    ("/v1/score", {"model": "ranks", "text_1": "a", "text_2": "b"}),
)


class Noting(ScriptedEngine):
    """Notes the salts."""

    def generate(
        self, request: GenerateRequest, prompt: Prompt, sink: Sink | None = None
    ) -> AsyncGenerator[Delta, None]:
        SEEN.append((request.cache_salt, request.shared_prompts))
        return super().generate(request, prompt, sink)

    async def embed(self, *args: Any, **kwargs: Any) -> list[Embedding]:
        SEEN.append((args[3], ()))
        return await super().embed(*args, **kwargs)

    async def score(self, *args: Any, **kwargs: Any) -> list[Score]:
        SEEN.append((args[3], ()))
        return await super().score(*args, **kwargs)


def models() -> Sequence[ModelSpec]:
    return (
        scripted("m", shared_prompts=("You are Fjord.",)),
        scripted("open", shares_prefix_cache=True, shared_prompts=("x",)),
        scripted("embeds", task="embed"),
        scripted("ranks", task="rerank"),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("salts")
    with serving(folder, *models(), build=Noting, settings={"ollama": True}) as made:
        yield made


def salts(served: Served, key: str, path: str, body: dict[str, Any]) -> set[str | None]:
    SEEN.clear()
    r = httpx.post(served.url + path, json=body, headers={"Authorization": f"Bearer {key}"})
    assert r.status_code == 200, r.text
    assert SEEN
    return {salt for salt, _ in SEEN}


@pytest.mark.parametrize(("path", "body"), [*GENERATING, *POOLING], ids=lambda v: str(v)[:24])
def test_it_is_the_owners_on_each_api(served: Served, path: str, body: dict[str, Any]) -> None:
    keys = [served.new_key(owner=owner) for owner in ("acme", "acme", "zenith")]
    one, same, other = (salts(served, key, path, body) for key in keys)
    assert one == same != other
    assert len(one | other) == 2
    assert all(salt is not None and "acme" not in salt for salt in one)


def test_a_model_may_share_its_cache(served: Served) -> None:
    key = served.new_key(owner="acme")
    assert salts(served, key, "/v1/chat/completions", CHAT | {"model": "open"}) == {None}
    assert SEEN == [(None, ())]


def test_shared_prompts_go_with_it(served: Served) -> None:
    salts(served, served.new_key(owner="acme"), "/v1/chat/completions", CHAT)
    assert [shared for _, shared in SEEN] == [("You are Fjord.",)]


def test_a_client_cannot_say_its_own(served: Served) -> None:
    headers = {"X-API-Key": served.new_key(owner="acme")}
    url = served.url + "/v1/chat/completions"
    r = httpx.post(url, json=CHAT | {"cache_salt": "zenith"}, headers=headers)
    assert r.status_code == 400
    assert r.json()["error"]["param"] == "cache_salt"
    assert "acme" not in json.dumps(r.json())


def test_another_server_makes_others_and_remembers_no_more_than_so_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.accounts.prefix_salts._MOST_OWNERS", 10)
    spec, made, other = scripted("m"), PrefixSalts(), PrefixSalts()
    assert made.of(spec, "acme") != other.of(spec, "acme")
    first = made.of(spec, "\ud800")
    assert len({made.of(spec, str(number)) for number in range(50)}) == 50
    assert len(made._known) <= 10
    assert made.of(spec, "\ud800") == first


def test_replicas_are_chosen_by_what_the_owner_finds_there() -> None:
    one, same, other = (ask("Hi you", cache_salt=salt) for salt in ("a", "a", "b"))
    assert prefixes_of(one) == prefixes_of(same)
    assert not set(prefixes_of(one)) & set(prefixes_of(other))
    shared = [ask("Hi you", cache_salt=salt, shared_prompts=("x",)) for salt in ("a", "b")]
    assert prefixes_of(shared[0]) == prefixes_of(shared[1])
