"""All probes in their order, of machines that answer strangely, late or not at all."""

import asyncio
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.probing.channel import OwnChannel, ProbedNode, ProbeFailed
from engines.probing.files import WantedWeights
from engines.probing.findings import ProbeFinding
from engines.probing.listeners import ProbeListeners
from engines.probing.preflight import Preflight, Wishes
from engines.probing.prober import Prober
from engines.probing.reaching import ReachTarget, reach, transfer
from engines.probing.told import NodeTold, ProbedInterface
from engines.probing.wire import CLOCK, HANDSHAKE, LISTEN, REACH, TELL, TRANSFER, WEIGHTS
from tests.support.nodes import until

pytestmark = pytest.mark.anyio
NUMBER = "ab" * 16
TASKS = (TELL, CLOCK, LISTEN, REACH, TRANSFER, WEIGHTS)


def told(name: str, address: str) -> NodeTold:
    """On the loopback: each "machine" has an address of its own there."""
    interface = ProbedInterface(name="lo", addresses=(address,), mtu=65536)
    versions = {"vLLM": "0.32.0", "torch": "none"}
    gib = 2**30
    return NodeTold(
        name=name,
        versions=versions,
        interfaces=(interface,),
        own=address,
        total=gib * 8,
        free=gib * 4,
    )


def machine(name: str, address: str, folder: Path) -> tuple[Prober, ProbedNode]:
    prober = Prober(lambda: told(name, address), folder)
    return prober, ProbedNode(name, OwnChannel(prober.tasks()), address)


class Strange:
    """As another machine answers, but one question."""

    def __init__(self, node: ProbedNode, task: str, answer: Any) -> None:
        self._channel, self._task, self._answer = node.channel, task, answer

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        if task != self._task:
            return await self._channel.ask(task, arguments, timeout_s)
        if self._answer == "nothing":
            await asyncio.sleep(timeout_s)
            raise ProbeFailed("no answer")
        if self._answer == "failed":
            raise ProbeFailed("it is away")
        answer: Mapping[str, Any] = self._answer
        return answer


async def looked(
    folder: Path, task: str = "", answer: Any = None, *, bound_s: float = 30.0, **wishes: Any
) -> list[ProbeFinding]:
    one, head = machine("one", "127.0.0.1", folder)
    two, node = machine("two", "127.0.0.2", folder)
    if task:
        node = ProbedNode("two", Strange(node, task, answer), node.address)
    try:
        return await Preflight([head, node], Wishes(**wishes)).run(bound_s)
    finally:
        one.close()
        two.close()


def bad(found: list[ProbeFinding]) -> set[tuple[str, str]]:
    return {(each.node, each.name) for each in found if each.state == "bad"}


async def test_two_that_are_well_node_by_node(tmp_path: Path) -> None:
    found = await looked(tmp_path, ports=())
    assert not bad(found)
    names = ["versions", "memory", "cards", "address", "ports"]
    own = [each.name for each in found if each.node == "one"]
    assert own == [*names, "gloo", "nccl"]
    others = [each.name for each in found if each.node == "two"]
    assert others == [*names[:3], "clock", *names[3:], "link", "gloo", "nccl"]
    assert found[own.index("gloo")].words == "not tried: torch is not installed on one"


STRANGE: list[Any] = [
    "failed",
    {},
    {"now": "noon", "reached": 7, "ports": {}, "seen": [None], "name": 1, "bytes": -1},
    {"reached": [{"outcomes": ["ok"] * 64}] * 512, "ports": ["x"] * 9, "free": [70000], "seen": []},
    {"now": 1e308, "reached": [], "ports": [], "free": [], "bytes": 2**40, "seconds": 0},
]


@pytest.mark.parametrize("answer", STRANGE)
@pytest.mark.parametrize("task", TASKS)
async def test_what_is_no_answer_is_a_finding_of_that_machine(
    tmp_path: Path, task: str, answer: Any
) -> None:
    models = {"m": WantedWeights(kind="vllm", source="a/b")}
    found = await looked(tmp_path, task, answer, ports=(), models=models)
    strange = {name for node, name in bad(found) if node == "two"}
    assert strange - {"weights"} or task in (WEIGHTS, TRANSFER, LISTEN)
    assert all(len(each.words) < 600 for each in found)


@pytest.mark.parametrize("task", TASKS)
async def test_one_that_says_nothing_is_waited_for_within_the_bound(
    tmp_path: Path, task: str
) -> None:
    began = time.monotonic()
    models = {"m": WantedWeights(kind="vllm", source="a/b")}
    found = await looked(tmp_path, task, "nothing", bound_s=0.5, ports=(), models=models)
    assert time.monotonic() - began < 10
    assert found[-1 if task == "" else 0].node == "one"
    [late] = [each for each in found if each.name == "time"]
    assert late.words == "not all was probed within 0.5 s"


@pytest.mark.parametrize("task", [LISTEN, REACH])
async def test_who_is_lost_is_said_to_be_once(tmp_path: Path, task: str) -> None:
    found = await looked(tmp_path, task, "failed")
    assert len([each for each in found if (each.node, each.state) == ("two", "bad")]) == 1
    assert bad(found) == {("two", "ports")}


async def test_a_head_that_fails_itself_says_so(tmp_path: Path) -> None:
    _, head = machine("one", "127.0.0.1", tmp_path)
    _, node = machine("two", "127.0.0.2", tmp_path)
    strange = ProbedNode("one", Strange(head, TELL, "failed"), head.address)
    found = await Preflight([strange, node], Wishes()).run()
    assert [(each.node, each.name, each.words) for each in found] == [
        ("one", "answers", "it is away")
    ]


async def test_each_outcome_of_a_port() -> None:
    listeners = ProbeListeners()
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port_taken, port_full = taken.getsockname()[1], full.getsockname()[1]
        said, [free] = await listeners.open(bytes.fromhex(NUMBER), [port_taken], 1, 30)
        assert said == {port_taken: "in use"}
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port_full))
        wanted = ReachTarget(
            address="127.0.0.1", ports=(free, 1, port_taken, port_full), number=NUMBER
        )
        other = ReachTarget(address="127.0.0.1", ports=(free,), number="cd" * 16)
        nowhere = ReachTarget(address="no.such", ports=(free,), number=NUMBER)
        reached = await reach([wanted, other, nowhere], connect_s=0.5)
        assert [each.outcomes for each in reached] == [
            ("ok", "refused", "another", "filtered"),
            ("another",),
            ("no route",),
        ]
        moved = await transfer(wanted, 0.2)
        assert moved.bytes > 1000
        assert not moved.is_stalled
        for each in fill:
            each.close()
    listeners.close()


async def test_listeners_close_by_themselves() -> None:
    listeners = ProbeListeners()
    _, [free] = await listeners.open(bytes.fromhex(NUMBER), (), 1, 0.05)
    target = ReachTarget(address="127.0.0.1", ports=(free,), number=NUMBER)
    await until(lambda: not listeners.are_open)
    assert [each.outcomes for each in await reach([target])] == [("refused",)]


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        (LISTEN, {"ports": [0]}),
        (LISTEN, {"ports": list(range(1, 66))}),
        (LISTEN, {"free": 9}),
        (LISTEN, {"seconds": 601}),
        (REACH, {"targets": [{"address": "a b", "ports": [1], "number": NUMBER}]}),
        (REACH, {"targets": [{"address": "::1", "ports": [1], "number": "short"}]}),
        (REACH, {}),
        (WEIGHTS, {"models": [{"kind": "vllm", "source": "x" * 5000}]}),
        (HANDSHAKE, {"backend": "mpi"}),
    ],
)
async def test_what_is_asked_has_its_bounds_too(
    tmp_path: Path, task: str, arguments: dict[str, Any]
) -> None:
    _, node = machine("one", "127.0.0.1", tmp_path)
    with pytest.raises(ProbeFailed):
        await node.channel.ask(task, arguments, 5)


def test_the_largest_answer_fits_a_message() -> None:
    """Of 16 machines with 8 addresses each, and 34 ports."""
    from engines.probing.link import MOST_BYTES

    asked = [{"address": "f" * 39, "ports": [65535] * 2, "number": NUMBER}] * 15 * 8
    every = [{"address": "f" * 39, "ports": [65535] * 34, "number": NUMBER}] * 15
    answered = [{"outcomes": ["filtered"] * 34}] * 15 * 8
    for each in (asked, every, answered):
        assert len(msgspec.json.encode(each)) < MOST_BYTES / 2
