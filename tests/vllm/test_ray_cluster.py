"""The cards of a Ray cluster's machines as they come and go; what is wrong with one, in words."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.base import EngineUnavailable
from engines.registry.cluster import cluster_name
from engines.registry.registry import RegistryError, load_registry
from engines.vllm.ray import cluster as module
from engines.vllm.ray.cluster import NoCluster, RayCluster, join
from engines.vllm.ray.failure import words
from engines.vllm.ray.unequal import unequal
from engines.vllm.ray.wire import Joined, RayNode, RayNodes, Seat, Told
from tests.support.serve_process import fjord

H100 = "0, GPU-a, NVIDIA H100, 81559\n1, GPU-b, NVIDIA H100, 81559\n"
L4 = "0, GPU-c, NVIDIA L4, 23034\n"
HERE = {"python": "3.11.7", "ray": "2.60.0", "vllm": "0.32.0", "is_cpu": False}


class Told_:
    """In a driver's place: tells what a test has it tell."""

    first: tuple[RayNode, ...] = ()
    failure: str | None = None
    refusal = ""
    is_well = True

    def __init__(self, ask: object, on_told: Callable[[Told], None]) -> None:
        self.tell, self.is_ended = on_told, False
        Told_.last = self

    last: "Told_"

    def joined(self) -> Joined:
        if self.refusal:
            raise EngineUnavailable(self.refusal)
        return Joined(own_node="a", address="10.0.0.1")

    def nodes(self, limit_s: float) -> RayNodes:
        return RayNodes(self.first)

    def end(self) -> None:
        self.is_ended = True


def node(number: int, cards: str = H100, **facts: Any) -> RayNode:
    address = f"10.0.0.{number}"
    told = {**HERE, "cards": cards, **facts}
    gpus = len(cards.splitlines())
    return RayNode(node=f"n{number}", name="", address=address, gpus=gpus, facts=told)


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RayCluster]]:
    monkeypatch.setattr(module, "Driver", Told_)
    monkeypatch.setattr(module, "_HERE", HERE)
    monkeypatch.setattr(module, "NODES_S", 0.1)
    monkeypatch.setattr(module, "FIRST_LOOK_S", 0.1)
    made: list[RayCluster] = []

    def join_(*nodes: RayNode, own: int = 1, refusal: str = "") -> RayCluster:
        monkeypatch.setattr(Told_, "first", nodes)
        monkeypatch.setattr(Told_, "refusal", refusal)
        made.append(RayCluster("head:6379", own))
        return made[-1]

    yield join_
    for each in made:
        each.close()


def test_cards_follow_this_machines_and_know_their_node(joined: Callable[..., RayCluster]) -> None:
    found = joined(node(2), node(3, L4), own=2)
    assert [card.node for card in found.cards] == ["10.0.0.2", "10.0.0.2", "10.0.0.3"]
    assert found.place((0, 1)) is None
    place = found.place((2, 3, 4))
    assert place is not None
    assert place.seats == (Seat(node="10.0.0.2", cards=2), Seat(node="10.0.0.3", cards=1))
    assert place.front == "10.0.0.1"


def test_what_does_not_answer_is_away_until_it_answers(joined: Callable[..., RayCluster]) -> None:
    found, changes = joined(node(2), node(3, L4)), []
    found.on_change(lambda: changes.append(found.absent()))
    silent = RayNode(node="n3", name="", address="10.0.0.3", gpus=1)
    for nodes in ((node(2), silent), (node(2), silent), (), (node(2), node(3, L4))):
        Told_.last.tell(RayNodes(nodes))
    assert changes == [frozenset({3}), frozenset({1, 2, 3}), frozenset()]


def test_an_equal_machine_takes_the_place_of_one_that_is_gone(
    joined: Callable[..., RayCluster], caplog: pytest.LogCaptureFixture
) -> None:
    found = joined(node(2), node(3, L4))
    Told_.last.tell(RayNodes((node(2), node(3, L4), node(4))))
    assert "node 10.0.0.4 came" in caplog.text
    Told_.last.tell(RayNodes((node(4), node(3, L4))))
    assert found.absent() == frozenset()
    place = found.place((1,))
    assert place is not None
    assert place.seats[0].node == "10.0.0.4"
    Told_.last.tell(RayNodes((node(2), node(3, L4), node(4))))
    assert found.absent() == frozenset()
    Told_.last.tell(RayNodes((node(5, L4), node(4))))
    assert found.place((3,)) is not None
    assert found.absent() == frozenset()


def test_other_versions_are_said_and_not_used(
    joined: Callable[..., RayCluster], caplog: pytest.LogCaptureFixture
) -> None:
    found = joined(node(2), node(3, vllm="0.31.0", python="3.12.1"))
    assert {card.node for card in found.cards} == {"10.0.0.2"}
    assert "Python 3.12, not 3.11; vLLM 0.31.0, not 0.32.0): it is not used" in caplog.text
    with pytest.raises(
        NoCluster, match=r"no node of the Ray cluster can be used: node 10\.0\.0\.2"
    ):
        joined(node(2, ray="2.59.0"))
    assert Told_.last.is_ended
    assert unequal(node(2, python="3.11.9"), HERE) is None
    assert "vLLM is missing" in str(unequal(node(2, vllm=None), HERE))


@pytest.mark.parametrize("nodes", [(), (RayNode(node="n", name="", address="10.0.0.2", gpus=1),)])
def test_a_cluster_without_cards_is_said(
    joined: Callable[..., RayCluster], nodes: tuple[RayNode, ...]
) -> None:
    with pytest.raises(NoCluster, match="no other machine with a GPU that answers: `ray status`"):
        joined(*nodes)


def test_a_cluster_that_is_not_there_is_said(joined: Callable[..., RayCluster]) -> None:
    with pytest.raises(NoCluster, match=r"head:6379 cannot be joined \(ConnectionError: no"):
        joined(refusal="ConnectionError: no")


@pytest.mark.parametrize("missing", ["ray", "vllm"])
def test_what_is_not_installed_is_said(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else object()
    )
    with pytest.raises(NoCluster, match="not installed"):
        join("ray", 0)


def test_a_start_without_a_cluster_ends_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    told = fjord(
        tmp_path,
        *("serve", "--port", "0", "--model", "a=echo", "--engine", "scripted", "--cluster", "ray"),
        RAY_ADDRESS="127.0.0.1:9",
    )
    assert told.returncode == 2
    [line] = told.stderr.splitlines()
    assert line.startswith("fjord: cluster ray: the Ray cluster 127.0.0.1:9 cannot be joined (")
    assert "`ray start --head`" in line
    assert len(line) < 900


@pytest.mark.parametrize("name", ["ray", "ray://head:10001", "ray://[fd00::1]:10001"])
def test_names_of_clusters(name: str) -> None:
    assert cluster_name(name) == name


@pytest.mark.parametrize("name", ["", "slurm", "ray://", "ray://head", "ray://a/b:1", "RAY"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="right would be ray, or ray://HOST:PORT"):
        cluster_name(name)
    file = tmp_path / "r.yaml"
    file.write_text(f"cluster: '{name}'\nmodels: {{a: {{source: echo, engine: scripted}}}}\n")
    with pytest.raises(RegistryError, match="key 'cluster'"):
        load_registry(file)


def test_of_a_remote_traceback_the_last_error_is_said() -> None:
    text = (
        "\x1b[36mray::EngineHost.make()\x1b[39m (pid=1, ip=10.0.0.2)\n"
        '  File "/opt/x.py", line 3, in make\n    raise ValueError("a")\n'
        "ValueError: a head\n\nThe above\n\n"
        "torch.OutOfMemoryError: CUDA out of\n memory"
    )
    assert words(RuntimeError(text)) == "OutOfMemoryError: CUDA out of memory"
    assert words(RuntimeError("plain")) == "RuntimeError: plain"
    assert len(words(RuntimeError("x" * 9000))) < 320
