"""An engine's nodes: found, compared, started and ended together, without vLLM."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from engines.errors import EngineUnavailable
from engines.joined.facts import JoinedCard, JoinedFacts
from engines.joined.nodes import JoinedNodes
from engines.joined.wire import PartState
from engines.registry.spec import EngineSpec
from engines.vllm.headless.engine import SpanningEngine
from engines.vllm.headless.group import NodeGroup
from engines.vllm.headless.parts import HeadlessParts
from engines.weights.fingerprint import fingerprint
from tests.support import joining as support
from tests.support.joining import facts, joined, joining, linked_head, until

pytestmark = pytest.mark.anyio

SPEC = EngineSpec(
    kind="vllm",
    source="/weights",
    args={"nnodes": 2, "tensor_parallel_size": 2, "device_ids": [0], "max_model_len": 64},
)


class FakeParts(HeadlessParts):
    """Starts nothing, and remembers what it would."""

    def __init__(self, folder: Path) -> None:
        async def find(_: EngineSpec) -> Path:
            return folder

        super().__init__(find, fingerprint, 0)
        self.started: list[Mapping[str, Any]] = []
        self.ended: list[str] = []
        self.told_states: list[PartState] = []

    @property
    def tasks(self) -> Any:
        return {**super().tasks, "part.start": self._note, "part.end": self._note_end}

    async def _note(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.started.append(arguments)
        part = PartState(id=arguments["part"], engine="e", state="starting")
        self.told_states = [*self.told_states, part]
        return {}

    async def _note_end(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        self.ended.append(arguments["part"])
        self.told_states = [each for each in self.told_states if each.id != arguments["part"]]
        return {}

    def states(self) -> list[PartState]:
        return self.told_states


@dataclass
class Pair:
    nodes: JoinedNodes
    url: str
    here: Path
    there: Path
    parts: FakeParts
    more: dict[str, Any] = field(default_factory=dict)

    def group(self, spec: EngineSpec = SPEC) -> NodeGroup:
        return NodeGroup(self.nodes, fingerprint, spec, str(self.here))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"w" * 3_000_000)
    async with linked_head() as (nodes, url):
        yield Pair(nodes, url, here, there, FakeParts(there))


@contextlib.asynccontextmanager
async def one_node(pair: Pair, **how: Any) -> AsyncIterator[None]:
    tasks = {**pair.parts.tasks, **how.pop("tasks", {})}
    async with joining(pair.url, parts=pair.parts, tasks=tasks, **how):
        yield


async def begun(group: NodeGroup) -> Mapping[str, Any]:
    """As the fleet has it."""
    await group.others_here()
    return await group.begin()


async def test_a_start_waits_for_its_node_in_words_and_tells_it_what_to_run(pair: Pair) -> None:
    pair.nodes.address = "http://gpu-1:8080"
    group = pair.group()
    beginning = asyncio.ensure_future(begun(group))
    await until(pair.nodes, lambda: group.waits_for is not None, "it waits")
    assert group.waits_for == "waits for 1 more node: fjord node --join http://gpu-1:8080"
    async with one_node(pair):
        told = await asyncio.wait_for(beginning, 20)
        assert group.waits_for is None
        assert told["master_addr"] == "127.0.0.1"
        assert (told["nnodes"], told["node_rank"]) == (2, 0)
        [started] = pair.parts.started
        assert started["arguments"] == {**told, "node_rank": 1}
        assert started["spec"]["args"] == {
            name: value for name, value in SPEC.args.items() if name != "device_ids"
        }
        await group.end()
        assert pair.parts.ended == [started["part"]]
        assert not pair.nodes.connected[0].wanted
        assert not group.lost.done()


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"vllm": "9"}, "gpu-2 has vLLM 9 instead of 2"),
        ({"torch": "4", "fjord": "0"}, "gpu-2 has Fjord 0 instead of 1, torch 4 instead of 3"),
        ({"python": "3.12.0"}, r"gpu-2 has Python 3\.12\.0 instead of 3\.11\.1"),
    ],
)
async def test_other_versions_are_told_by_name(
    pair: Pair, versions: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "facts", lambda name="gpu-2": facts(name, **versions))
    pair.nodes._facts = lambda: facts("head")
    async with one_node(pair):
        await joined(pair.nodes)
        with pytest.raises(EngineUnavailable, match=words):
            await asyncio.wait_for(begun(pair.group()), 20)


@pytest.mark.parametrize("change", ["other", "missing", "longer", "more"])
async def test_other_weights_are_told_by_file(pair: Pair, change: str) -> None:
    file = pair.there / "model.safetensors"
    match change:
        case "other":
            file.write_bytes(b"w" * 2_999_999 + b"x")
        case "missing":
            file.unlink()
        case "longer":
            file.write_bytes(b"w" * 3_000_001)
        case "more":
            file = pair.there / "model-2.safetensors"
            file.write_bytes(b"w")
    async with one_node(pair):
        group = pair.group()
        with pytest.raises(EngineUnavailable, match=f"gpu-2 has other weights.*{file.name} is"):
            await asyncio.wait_for(begun(group), 20)
        await group.end()
        assert not pair.parts.started


async def test_what_a_node_says_of_its_weights_or_of_a_shut_port_is_the_reason(pair: Pair) -> None:
    async def none(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise EngineUnavailable("/weights is not there; source would be a folder or a file")

    async def shut(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise EngineUnavailable("127.0.0.1:4 does not answer")

    for tasks, words in (
        ({"part.weights": none}, "gpu-2: /weights is not there"),
        ({"part.reach": shut}, "Between gpu-2 and this server: gpu-2: .* does not answer; all"),
        ({"part.listen": _nowhere}, "Between gpu-2 and this server: .* is not reached"),
        ({"part.start": none}, "gpu-2: /weights is not there"),
    ):
        async with one_node(pair, tasks=tasks):
            group = pair.group()
            with pytest.raises(EngineUnavailable, match=words):
                await asyncio.wait_for(begun(group), 20)
            await group.end()
        await until(pair.nodes, lambda: not pair.nodes.connected, "the node has left")


async def test_a_part_that_ends_freezes_or_whose_node_leaves_is_the_end_of_all(pair: Pair) -> None:
    for state, words in (
        ("ended", "gpu-2: no memory"),
        ("frozen", "gpu-2: no memory"),
        ("none", "gpu-2: it has its part no more"),
        ("", "gpu-2: it has left"),
    ):
        group = pair.group()
        async with one_node(pair):
            await asyncio.wait_for(begun(group), 20)
            part = pair.parts.started[-1]["part"]
            if state:
                told: Any = {"id": part, "engine": "e", "state": state, "words": "no memory"}
                pair.parts.told_states = [] if state == "none" else [PartState(**told)]
                pair.parts.changed.set()
                assert await asyncio.wait_for(group.lost, 5) == words
                pair.parts.told_states = []
        assert await asyncio.wait_for(group.lost, 5) == words
        await group.end()
        await until(pair.nodes, lambda: not pair.nodes.connected, "the node has left")


async def test_a_node_that_leaves_while_it_fetches_ends_the_start(pair: Pair) -> None:
    async def fetches(_: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(60)
        return {}

    group = pair.group()
    async with one_node(pair, tasks={"part.weights": fetches}):
        beginning = asyncio.ensure_future(begun(group))
        waits = "waits for the weights on gpu-2"
        await until(pair.nodes, lambda: group.waits_for == waits, "it fetches")
    with pytest.raises(EngineUnavailable, match="gpu-2"):
        await asyncio.wait_for(beginning, 5)


async def test_cards_that_another_engine_has_are_none_for_this_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def carded(name: str = "gpu-2") -> JoinedFacts:
        return facts(name, cards=(JoinedCard(name="H100", total=80 * 2**30),) * 2)

    monkeypatch.setattr(support, "facts", carded)
    async with one_node(pair):
        await joined(pair.nodes)
        first, second = pair.group(), pair.group()
        third = pair.group(replace(SPEC, args={**SPEC.args, "tensor_parallel_size": 4}))
        for group in (first, second):
            await asyncio.wait_for(begun(group), 20)
        waiting = asyncio.ensure_future(begun(third))
        await until(pair.nodes, lambda: third.waits_for is not None, "no card is free")
        await first.end()
        assert not waiting.done()
        await second.end()
        pair.nodes.heard_of(pair.nodes.connected[0])
        await asyncio.wait_for(waiting, 20)
        await third.end()


async def test_a_start_whose_node_has_left_meanwhile_does_not_wait_for_another(
    pair: Pair,
) -> None:
    """It would hold its cards: the fleet has it wait anew without them."""
    left = pair.group()
    async with one_node(pair):
        await asyncio.wait_for(left.others_here(), 20)
    with pytest.raises(EngineUnavailable, match="it waits for 1 more node: fjord node --join"):
        await asyncio.wait_for(left.begin(), 20)


async def test_weights_are_compared_once_a_process(pair: Pair) -> None:
    asked: list[Any] = []

    async def told(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(arguments)
        found: Mapping[str, Any] = await pair.parts.tasks["part.weights"](arguments)
        return found

    async with one_node(pair, tasks={"part.weights": told}):
        group = pair.group()
        await asyncio.wait_for(begun(group), 20)
        await group.end()
        assert len(asked) == 1
        await asyncio.wait_for(pair.group().others_here(), 20)
        assert len(asked) == 2


async def test_a_node_that_came_through_a_tunnel_is_refused_in_words(pair: Pair) -> None:
    """It reaches the head at a loopback address, which is its own as well."""
    pair.nodes._facts = lambda: facts("head", boot="another machine")
    async with one_node(pair):
        with pytest.raises(EngineUnavailable, match=r"reached this server at 127\.0\.0\.1"):
            await asyncio.wait_for(begun(pair.group()), 20)


async def test_an_engine_whose_start_ends_leaves_no_part_and_says_what_it_was_about(
    pair: Pair,
) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    async def fails(*_: Any) -> Any:
        raise EngineUnavailable("vLLM refuses it")

    def engine(load: Any) -> SpanningEngine:
        return SpanningEngine(SPEC, str(pair.here), pair.nodes, fingerprint, load)

    def parts_run() -> bool:
        return len(pair.parts.started) == len(pair.parts.ended) + 1

    async with one_node(pair):
        await joined(pair.nodes)
        given_up = engine(never)
        starting = asyncio.ensure_future(given_up.start())
        await until(pair.nodes, parts_run, "its part starts")
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert given_up.waits_for == "waits for its parts, here and on gpu-2"
        assert not parts_run()
        with pytest.raises(EngineUnavailable, match="vLLM refuses it"):
            await engine(fails).start()
        assert not parts_run()
        left = engine(never)
        starting = asyncio.ensure_future(left.start())
        await until(pair.nodes, parts_run, "its part starts")
    with pytest.raises(EngineUnavailable, match="gpu-2: it has left"):
        await starting
    assert left.waits_for is None


async def _nowhere(_: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"address": "127.0.0.1", "port": 1}
