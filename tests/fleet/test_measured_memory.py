"""What an engine says it took, once it has started, is shown and kept for the next plan."""

from collections.abc import Sequence

import pytest

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.node_memory import NodeMemory, Note
from engines.memory_in_use import MemoryInUse
from engines.registry.spec import EngineSpec
from engines.testing.scripted import ScriptedEngine
from tests.support.fleets import enter, model, running, scripted, status

pytestmark = pytest.mark.anyio

USE = MemoryInUse(kv_bytes=5, weights_bytes=30, reserve_bytes=7)


def telling(*uses: MemoryInUse) -> type[ScriptedEngine]:
    class Telling(ScriptedEngine):
        def memory_in_use(self) -> Sequence[MemoryInUse]:
            return uses

    return Telling


def memory(note: Note) -> NodeMemory:
    need = MemoryNeed(bytes_each=60, devices=2)
    return NodeMemory(DeviceMemory((100, 100)), lambda spec: need, note=note)


@pytest.mark.parametrize(
    ("uses", "measured"),
    [((USE, USE), 84), ((USE, MemoryInUse(kv_bytes=5)), None), ((), None)],
    ids=["told whole", "told in part", "not told"],
)
async def test_what_is_told_whole_is_shown(
    uses: tuple[MemoryInUse, ...], measured: int | None
) -> None:
    noted: list[tuple[str, Sequence[int], Sequence[MemoryInUse]]] = []

    def note(spec: EngineSpec, cards: Sequence[int], told: Sequence[MemoryInUse]) -> None:
        noted.append((spec.source, cards, told))

    options = {"build": telling(*uses), "memory": memory(note)}
    async with running(model("a", scripted("a")), **options) as fleet:
        assert status(fleet, "a").measured_bytes is None
        await enter(fleet, "a")
        assert status(fleet, "a").measured_bytes == measured
        assert noted == ([("a", [0, 1], uses)] if uses else [])
        await fleet.commands.give("unload", "a")
        assert status(fleet, "a").measured_bytes is None, "it has given it back"


async def test_a_figure_that_cannot_be_kept_ends_no_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    options = {"build": telling(USE, USE), "memory": memory(full)}
    async with running(model("a", scripted("a")), **options) as fleet:
        await enter(fleet, "a")
        assert status(fleet, "a").state == "ready"
    assert "could not be kept" in caplog.text
