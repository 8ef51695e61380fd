"""Clients see no difference: the kit and official clients, through a front that has no model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.memory.site_key import made_site_key
from tests.clients.test_python import CLIENTS, run
from tests.support.conforming import MODELS, conform, unmet
from tests.support.peers import peer_site
from tests.support.serving import Served, scripted
from tests.support.sites import new_site, postgres_server

pytestmark = pytest.mark.slow

SERVED = (
    scripted("mixtral-8x7b", tool_parser="hermes"),
    *MODELS[1:],
    scripted("long", text="word " * 2000, token_delay_s=0.01),
    scripted("other"),
    scripted("agent", tool_parser="hermes", calls_tools=True),
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("site")
    settings = {"memory_key": folder / "site.key"}
    made_site_key(settings["memory_key"])
    limits = {"requests_per_minute": 10**6, "concurrent": 10**4, "tokens_per_minute": 10**9}
    with (
        postgres_server() as server,
        peer_site(folder, new_site(server), *SERVED, settings=settings) as site,
    ):
        yield replace(site.nodes[0], key=site.new_key(**limits)[1])


def test_a_front_keeps_every_rule(front: Served) -> None:
    others: dict[str, Any] = {
        "reasoning_model": "thinking",
        "embedding_model": "vectors",
        "rerank_model": "ranks",
        "speech_model": "ears",
        "vision_model": "seeing",
    }
    results = conform(front, **others)
    assert unmet(results) == {}
    assert sum(r.verdict == "pass" for r in results) > 280


@pytest.mark.parametrize("script", ["openai_client", "ollama_client"])
def test_a_client_works(front: Served, script: str) -> None:
    done = run(front, "clients", str(CLIENTS / f"{script}.py"))
    assert done.returncode == 0, done.stdout + done.stderr
