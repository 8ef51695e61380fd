"""What /metrics tells of the memory: counted, without an owner's name."""

import os
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.memory import sealing
from server.memory.errors import MemoryFull, MemoryTrouble
from tests.support.memories import asking, kept, memory_at, said
from tests.support.serving import scripted, serving, wait_until


def told(url: str) -> dict[str, float]:
    """Sample, with its label -> value, of the memory's."""
    text = httpx.get(f"{url}/metrics").text
    assert "tests" not in text  # the owner of what is kept here
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("fjord_memory", "fjord_background"))
    }


def test_what_is_kept_is_counted(tmp_path: Path) -> None:
    with asking(tmp_path, memory_gb=0.5) as (client, served):
        assert told(served.url)["fjord_memory_owner_limit_bytes"] == 5e8
        for _ in range(3):
            assert said(client).status_code == 200
        client.post("/v1/conversations", json={})
        memory = served.services.memory
        assert memory is not None
        memory.look_after()
        counted = told(served.url)
        assert counted["fjord_memory_responses"] == 3
        assert (counted["fjord_memory_conversations"], counted["fjord_memory_owners"]) == (1, 1)
        assert counted["fjord_memory_bytes"] == counted["fjord_memory_fullest_owner_bytes"] > 300
        assert {v for name, v in counted.items() if "failures" in name} == {0}


def test_what_runs_and_what_waits_is_told(tmp_path: Path) -> None:
    slow = scripted("slow", text="a " * 3000, token_delay_s=0.01)
    with (
        serving(tmp_path, slow, settings={"concurrent": 1}) as served,
        httpx.Client(base_url=served.url, headers=served.headers, timeout=60) as client,
    ):
        ids = [said(client, model="slow", background=True).json()["id"] for _ in range(3)]
        wait_until(lambda: told(served.url)["fjord_background_responses/running"] == 1, "one runs")
        assert told(served.url)["fjord_background_responses/queued"] == 2
        for response_id in ids:
            client.post(f"/v1/responses/{response_id}/cancel")
        now = told(served.url)
        assert now["fjord_background_responses/running"] == 0
        assert now["fjord_background_responses/queued"] == 0
        assert now["fjord_background_lost_total"] == 0


def test_each_kind_of_failure_is_counted(tmp_path: Path) -> None:
    memory = memory_at(tmp_path, quota_bytes=2000)
    memory.keep(kept("resp_a"), (), (), ())
    with pytest.raises(MemoryFull):
        memory.keep(kept("resp_b", turn=b'"%b"' % os.urandom(2000).hex().encode()), (), (), ())
    with memory.vault.transaction() as database:
        database.execute("UPDATE memory_responses SET head = ?", (b"x" * 60,))
    with pytest.raises(sealing.WrongSeal):
        memory.responses.find("resp_a", "acme")
    with memory.vault.transaction() as database:
        database.execute("UPDATE memory_owners SET data_key = ?", (b"x" * 60,))
    with pytest.raises(MemoryTrouble):
        memory.responses.find("resp_a", "acme")
    with pytest.raises(MemoryTrouble), memory.vault.transaction() as database:
        database.query("SELECT * FROM no_such_table")
    assert memory.vault.failures.by_kind == {"full": 1, "sealed": 2, "away": 1}
    memory.vault.database.close()
