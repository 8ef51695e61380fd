"""The plan's figures as the fleet places by them."""

from pathlib import Path
from typing import Any

import pytest

from engines.fleet.device_memory import HOST, MemoryNeed, asleep_on
from engines.fleet.shares import NodeShares
from engines.planning.cards import parse_cards
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.plan import AskedEngine
from engines.planning.shipped import shipped_facts
from engines.registry.registry import Registry, load_registry
from engines.registry.spec import EngineSpec
from server.cli.registry_facts import asked_of
from tests.support.paths import ROOT

REGISTRY = load_registry(ROOT / "model_registry.yaml", "cuda")
GB = 10**9


def nothing(spec: EngineSpec) -> ModelFacts | None:
    return None


def shares(cards: str, tmp_path: Path, registry: Registry = REGISTRY, **options: Any) -> NodeShares:
    machine = Machine(cards=parse_cards(cards), host_bytes=1000 * GB)
    asked = asked_of(registry.models.values(), tmp_path, may_ask_hub=False)
    return NodeShares(asked, machine, options.pop("facts", nothing), **options)


def test_every_documented_model_stands_on_its_planned_cards_alone(tmp_path: Path) -> None:
    node = shares("8xH100-80", tmp_path)
    for spec in {m.engine.key: m.engine for m in REGISTRY.models.values()}.values():
        need = node.need(spec)
        assert need is not None
        if not node.room.can_hold(need):
            assert need.devices > 8, spec.source  # two nodes
            continue
        devices = node.room.place(need, {})
        assert devices == need.preferred or not need.preferred
        part = node.room.part(need, devices or ())
        assert part is not None
        assert 0.05 < part <= 0.92


def test_engines_of_one_turn_fit_together(tmp_path: Path) -> None:
    small = load_registry(ROOT / "model_registry.yaml", "small")
    node = shares("1x80", tmp_path, small)
    taken: dict[int, int] = {}
    for spec in {m.engine.key: m.engine for m in small.models.values() if m.preload}.values():
        need = node.need(spec)
        assert need is not None
        devices = node.room.place(need, taken)
        assert devices is not None
        for device in devices:
            taken[device] = taken.get(device, 0) + need.on(device)
    assert taken[0] > 0.5 * node.room.sizes[0]  # caches take what is there


def spec_of(kind: Any, **args: Any) -> EngineSpec:
    return EngineSpec(kind=kind, source="org/unheard-of", args=args)


def test_a_model_that_is_not_known_stands_alone_until_its_weights_are_here(tmp_path: Path) -> None:
    facts = shipped_facts("mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert facts is not None
    known: dict[str, ModelFacts] = {}
    node = shares("4x80", tmp_path, facts=lambda spec: known.get(spec.source))
    spec = spec_of("vllm", tensor_parallel_size=4)
    need = node.need(spec)
    assert need is not None
    assert (need.devices, need.bytes_each) == (4, node.room.sizes[0])
    known[spec.source] = facts
    later = node.need(spec)
    assert later is not None
    assert later.devices == 4
    assert 93 * GB / 4 < later.bytes_each < need.bytes_each


@pytest.mark.parametrize(
    "spec", [spec_of("scripted"), spec_of("vllm", distributed_executor_backend="ray")]
)
def test_what_is_elsewhere_takes_nothing_here(spec: EngineSpec, tmp_path: Path) -> None:
    assert shares("1x80", tmp_path).need(spec) is None


def test_without_cards_engines_share_the_machines_memory(tmp_path: Path) -> None:
    facts = shipped_facts("mistralai/Mixtral-8x7B-Instruct-v0.1")
    spec = spec_of("vllm", max_model_len=1024)
    asked = [AskedEngine(spec=spec, aliases=("a",), facts=facts)]
    for said, most in ((None, 90 * GB), (100 * GB, 100 * GB)):
        node = NodeShares(asked, Machine(host_bytes=100 * GB), nothing, host_bytes=said)
        need = node.need(spec)
        assert need is not None
        assert need.devices == 0
        assert need.host_bytes <= most  # an estimate refuses nothing: it is tried alone
        assert node.room.place(need, {}) == (HOST,)
    assert node.need(spec_of("llamacpp")) is None


def test_caches_leave_room_for_others_that_sleep_on_their_cards(tmp_path: Path) -> None:
    facts = shipped_facts("mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert facts is not None

    def needs(is_sleepy: bool) -> tuple[NodeShares, list[MemoryNeed]]:
        asked = [
            AskedEngine(
                spec=EngineSpec(
                    kind="vllm",
                    source=f"org/{name}",
                    args={"tensor_parallel_size": 2, "enable_sleep_mode": is_sleepy},
                ),
                aliases=(name,),
                facts=facts,
            )
            for name in ("a", "b", "c")
        ]
        node = NodeShares(asked, Machine(cards=parse_cards("2x80")), nothing)
        found = [node.need(each.spec) for each in asked]
        return node, [need for need in found if need is not None]

    node, whole = needs(False)
    assert [need.bytes_each for need in whole] == [node.room.sizes[0]] * 3
    assert all(not need.asleep_bytes_each and not need.weights_bytes for need in whole)
    node, sleepy = needs(True)
    for need in sleepy:
        assert 0.9 * node.room.sizes[0] <= need.bytes_each < node.room.sizes[0]
        assert GB < need.asleep_bytes_each < 3 * GB
        assert need.weights_bytes == pytest.approx(93.4 * GB, rel=0.02)
    asleep = sum(need.asleep_bytes_each for need in sleepy[1:])
    taken = {asleep_on(card): asleep for card in (0, 1)}
    assert node.room.place(sleepy[0], taken) == (0, 1)


def test_each_replica_is_given_its_own_cards_and_share(tmp_path: Path) -> None:
    source = "Qwen/Qwen3-VL-8B-Instruct"
    spec = EngineSpec(kind="vllm", source=source, args={"max_model_len": 32768})
    one = AskedEngine(spec=spec, aliases=("a",), facts=shipped_facts(source), replicas=3)
    node = NodeShares([one], Machine(cards=parse_cards("2x80")), nothing)
    needs = [node.need(one.replica(number).spec) for number in range(3)]
    shared, alone = sorted({(need.bytes_each, need.preferred) for need in needs if need})
    assert [need and need.preferred for need in needs].count(shared[1]) == 2
    assert shared[1] != alone[1]
    taken: dict[int, int] = {}
    for need in needs:
        assert need is not None
        devices = node.room.place(need, taken)
        assert devices == need.preferred
        taken[devices[0]] = taken.get(devices[0], 0) + need.bytes_each
