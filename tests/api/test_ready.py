"""/health and /ready, read as a load balancer reads them."""

import asyncio
from pathlib import Path

import pytest

from engines.base import EngineUnavailable
from tests.support.open_server import site

pytestmark = pytest.mark.anyio


async def test_health_answers_while_a_model_loads_and_ready_says_it_loads(tmp_path: Path) -> None:
    async with site(tmp_path, load_s=60) as server:
        assert (await server.client.get("/health")).json() == {"status": "ok"}
        await asyncio.sleep(0)
        answer = await server.ready()
        assert answer.status_code == 503
        (engine,) = answer.json()["engines"]
        assert engine["state"] in ("fetching", "starting")
        assert engine["aliases"] == ["a", "b"]


async def test_ready_is_200_once_every_preloaded_model_serves(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        await server.loaded()
        answer = await server.ready()
        assert answer.status_code == 200
        assert answer.json()["status"] == "ready"
        assert answer.json()["engines"][0]["state"] == "ready"


async def test_ready_says_that_a_load_failed_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    why = "the folder /srv/secret/weights is empty"
    async with site(tmp_path, fail_load=why) as server:
        with pytest.raises(EngineUnavailable):
            await server.loaded()
        answer = await server.ready()
        (engine,) = answer.json()["engines"]
        assert engine["state"] == "failed"
        assert engine["reason"] == "It could not be loaded; the server's log says why."
        assert "secret" not in answer.text
        assert why in caplog.text


async def test_ready_is_503_while_the_ledger_refuses_or_the_server_drains(tmp_path: Path) -> None:
    async with site(tmp_path) as server:
        await server.loaded()
        assert (await server.ready()).status_code == 200
        server.ledger.writer.trouble = "postgres://fjord:s3cret@db/x: /srv/ledger.sqlite3 is full"
        answer = await server.ready()
        assert answer.status_code == 503
        words = "Usage cannot be recorded now; the server's log says why."
        assert answer.json()["refusing"] == {"ledger": words}
        server.ledger.writer.trouble = None
        assert (await server.ready()).status_code == 200
        await server.services.supervisor.drain(0)
        assert (await server.ready()).json()["refusing"] == {
            "drain": "The server is shutting down."
        }
