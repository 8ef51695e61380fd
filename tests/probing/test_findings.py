"""What is said of each thing that was probed, and what to do about it."""

from dataclasses import replace as with_
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.probing import findings, group
from engines.probing.files import SeenWeights, WantedWeights, seen_weights
from engines.probing.findings import GIB, ProbeFinding
from engines.probing.paths import Paths, TriedPorts, address, ports
from engines.probing.reaching import Outcome
from engines.probing.told import NodeTold, ProbedCard, ProbedInterface
from engines.weights.manifest import StoredFile, WeightsManifest, write_manifest

ETH = ProbedInterface(name="eth0", addresses=("10.0.0.2",), mtu=1500)
IB = ProbedInterface(name="ib0", addresses=("10.9.0.2",), mtu=4092)
DOCKER = ProbedInterface(name="docker0", addresses=("172.17.0.1",), mtu=1500)
CARD = ProbedCard(name="H100", total=80 * GIB, free=79 * GIB)
TOLD = NodeTold(
    name="gpu-2",
    versions={"Fjord": "0.1.0", "vLLM": "0.32.0", "Ray": "none"},
    interfaces=(ETH,),
    own="10.0.0.2",
    total=64 * GIB,
    free=32 * GIB,
    cards=(CARD, CARD),
)


def told(**changed: Any) -> NodeTold:
    return msgspec.structs.replace(TOLD, **changed)


def shown(found: ProbeFinding) -> tuple[str, str]:
    return found.state, found.words


def test_versions_are_the_heads_and_vllm_is_there() -> None:
    of = findings.versions
    assert shown(of("gpu-2", TOLD, TOLD, "gpu-1")) == ("ok", "Fjord 0.1.0, vLLM 0.32.0")
    other = told(versions={"Fjord": "0.2.0", "vLLM": "none", "Ray": "2.60.0"})
    words = "Fjord 0.1.0 instead of 0.2.0, vLLM 0.32.0 instead of none, Ray none instead of 2.60.0"
    assert shown(of("gpu-2", TOLD, other, "gpu-1")) == ("bad", f"{words} of gpu-1")
    bare = told(versions={"Fjord": "0.1.0"})
    assert shown(of("gpu-2", bare, bare, "gpu-2")) == ("bad", "vLLM is not installed")
    assert of("gpu-2", told(versions={}), TOLD, "gpu-1").state == "bad"


@pytest.mark.parametrize(
    ("offset_s", "unsure_s", "state", "words"),
    [
        (0.0012, 0.0004, "ok", "+1.2 ms to gpu-1's, give or take 0.4"),
        (-2.0, 0.0, "ok", "-2000.0 ms to gpu-1's, give or take 0.0"),
        (2.01, 0.005, "bad", "2 s ahead of gpu-1's"),
        (-40.0, 0.2, "bad", "40 s behind gpu-1's"),
        (2.5, 0.6, "ok", "+2500.0 ms to gpu-1's, give or take 600.0"),
        (1e300, 0.1, "bad", None),
    ],
)
def test_a_clock_may_be_two_seconds_off(
    offset_s: float, unsure_s: float, state: str, words: str | None
) -> None:
    found = findings.clock("gpu-2", offset_s, unsure_s, "gpu-1")
    assert found.state == state
    assert words in (None, found.words)


def test_memory_and_cards() -> None:
    assert shown(findings.memory("n", TOLD)) == ("ok", "32.0 of 64.0 GiB are free")
    assert findings.memory("n", told(free=GIB)).state == "bad"
    of = findings.cards
    assert shown(of("n", TOLD, TOLD, "h")) == ("ok", "2 x H100 80 GiB, all free")
    none = told(cards=())
    assert shown(of("n", none, none, "h")) == ("ok", "none: engines run on the processor")
    assert shown(of("n", none, TOLD, "h")) == ("bad", "no card, and h has 2 x H100 80 GiB")
    one = told(cards=(CARD,))
    assert shown(of("n", one, TOLD, "h")) == (
        "note",
        "1 x H100 80 GiB, and h has 2 x H100 80 GiB",
    )
    held = told(cards=(CARD, msgspec.structs.replace(CARD, free=10 * GIB)))
    assert shown(of("n", held, TOLD, "h"))[1] == "2 x H100 80 GiB; others hold 70 GiB of card 1"


def paths(reached: dict[str, dict[str, Outcome]], hint: str = "", **changed: Any) -> Paths:
    return Paths("gpu-2", told(**changed), hint, reached)


def test_who_waited_in_a_handshake_for_one_that_left_is_told_so() -> None:
    failed = {"gpu-1": "Timed out after 21 seconds", "gpu-2": "it is away: its link ended"}
    one, two = group._findings("gloo", ["gpu-1", "gpu-2"], {}, failed)
    assert (one.state, one.remedy) == ("bad", "gpu-2 left meanwhile")
    assert (two.state, two.remedy) == ("bad", "")


def test_one_that_has_joined_speaks_by_the_address_of_its_link() -> None:
    both: dict[str, Any] = {"interfaces": (IB, ETH), "own": "10.9.0.2"}
    reached: Any = {"10.0.0.2": {"gpu-1": "ok"}, "10.9.0.2": {"gpu-1": "ok"}}
    joined = Paths("gpu-2", told(**both), "10.0.0.2", reached, is_joined=True)
    words = "10.0.0.2 (eth0), by which it has joined, reached by all"
    assert shown(address(joined)) == ("ok", words)
    closed = with_(joined, reached={**reached, "10.0.0.2": {"gpu-1": "ok", "gpu-3": "filtered"}})
    assert shown(address(closed)) == ("bad", "10.0.0.2 is not reached from gpu-3")
    chosen = with_(joined, told=told(**both, choices={"VLLM_HOST_IP": "10.9.0.2"}))
    words = "VLLM_HOST_IP=10.9.0.2 is not 10.0.0.2, by which it has joined"
    assert shown(address(chosen)) == ("bad", words)
    behind_another = with_(joined, hint="192.0.2.7")
    assert address(behind_another).state == "note"


def test_of_a_host_of_many_containers_a_few_addresses_are_tried() -> None:
    many = tuple(
        ProbedInterface(name=f"eth{i}", addresses=(f"10.1.{i}.2", f"10.2.{i}.2")) for i in range(32)
    )
    found = Paths("gpu-2", told(interfaces=many, own="10.2.31.2"), "10.1.30.2").candidates
    assert found[:2] == ["10.1.30.2", "10.2.31.2"]
    assert len(found) == 8


def test_an_address_that_all_reach_is_taken_the_links_first() -> None:
    both: dict[str, dict[str, Outcome]] = {"10.0.0.2": {"h": "ok"}, "10.9.0.2": {"h": "ok"}}
    one = address(paths(both))
    assert shown(one) == ("ok", "10.0.0.2 (eth0), reached by all")
    several = paths(both, "10.9.0.2", interfaces=(ETH, IB, DOCKER))
    found = address(several)
    assert shown(found) == (
        "note",
        "all reach 10.9.0.2 (ib0), of several: 10.9.0.2 (ib0), 10.0.0.2 (eth0)",
    )
    assert found.remedy == (
        "set VLLM_HOST_IP=10.9.0.2 GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0"
    )
    chosen = {"VLLM_HOST_IP": "10.9.0.2", "GLOO_SOCKET_IFNAME": "ib0"}
    settled = with_(several, told=told(interfaces=(ETH, IB), choices=chosen))
    assert shown(address(settled)) == ("ok", "10.9.0.2 (ib0), reached by all")


def test_one_that_the_link_came_by_and_others_do_not_reach_is_not_taken() -> None:
    tried: dict[str, dict[str, Outcome]] = {
        "10.0.0.2": {"h": "ok", "m": "no route"},
        "10.9.0.2": {"h": "ok", "m": "ok"},
    }
    assert paths(tried, "10.0.0.2", interfaces=(ETH, IB)).chosen == "10.9.0.2"


def test_what_is_not_reached_is_said_with_who_tried() -> None:
    found = address(paths({"10.0.0.2": {"h": "ok", "m": "filtered"}}))
    assert shown(found) == ("bad", "10.0.0.2 is not reached from m")
    assert "the firewall of gpu-2" in found.remedy
    found = address(paths({"10.0.0.2": {"h": "no route"}}))
    assert shown(found) == ("bad", "no address is reached from h: 10.0.0.2 (eth0)")
    assert found.remedy == "`ip route get 10.0.0.2` on h finds no way"
    assert address(paths({}, interfaces=(DOCKER,))).state == "bad"


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"VLLM_HOST_IP": "10.0.0.7"}, "VLLM_HOST_IP=10.0.0.7 is none of its addresses"),
        ({"VLLM_HOST_IP": "10.9.0.2"}, "VLLM_HOST_IP=10.9.0.2 is not reached by all"),
        ({"GLOO_SOCKET_IFNAME": "eth1"}, "GLOO_SOCKET_IFNAME=eth1 is not eth0"),
        ({"NCCL_SOCKET_IFNAME": "^eth"}, "NCCL_SOCKET_IFNAME=^eth is not eth0"),
        ({"NCCL_SOCKET_IFNAME": "=eth"}, "NCCL_SOCKET_IFNAME==eth is not eth0"),
        ({"NCCL_SOCKET_IFNAME": "ib,eth", "GLOO_SOCKET_IFNAME": "ib0,eth0"}, None),
        ({"NCCL_SOCKET_IFNAME": "^ib,docker"}, None),
    ],
)
def test_what_the_environment_chooses_is_held_to_what_is_reached(
    choices: dict[str, str], words: str | None
) -> None:
    tried: dict[str, dict[str, Outcome]] = {"10.0.0.2": {"h": "ok"}, "10.9.0.2": {"h": "refused"}}
    found = address(paths(tried, interfaces=(ETH, IB), choices=choices))
    assert (found.state == "bad") == (words is not None)
    assert words is None or found.words.startswith(words)


def test_ports_are_named_in_runs_with_their_direction_and_why() -> None:
    where = paths({"10.0.0.2": {"h": "ok"}})
    wanted = {29500: "", 5000: "", 5001: "", 5002: "", 6379: "in use"}
    outcomes: dict[str, dict[int, Outcome]] = {
        "h": {29500: "ok", 5000: "filtered", 5001: "filtered", 5002: "filtered", 40001: "filtered"},
        "m": {29500: "another", 5000: "ok", 5001: "ok", 5002: "ok", 40001: "ok"},
    }
    found = list(ports(TriedPorts(where, wanted, (40001,), outcomes)))
    assert [each.words for each in found] == [
        "6379 cannot be listened on: in use",
        "h -> gpu-2: filtered: 5000-5002 and free ones as 40001",
        "m -> gpu-2: another: 29500",
    ]
    well: dict[str, dict[int, Outcome]] = {"h": {29500: "ok", 40001: "ok"}}
    [found_well] = ports(TriedPorts(where, {29500: ""}, (40001,), well))
    assert shown(found_well) == ("ok", "29500 and 1 free ones, from all")


HERE = SeenWeights(state="here", commit="a" * 40, sizes="s", hashes="h", largest="1 2 3", size=GIB)


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({}, "ok", "m is here, 1.00 GiB: one folder with gpu-1"),
        ({"largest": "9 2 3"}, "ok", "m is here, 1.00 GiB, the same as on gpu-1"),
        ({"largest": "9", "hashes": ""}, "ok", "m is here, 1.00 GiB, as large as on gpu-1"),
        ({"largest": "9", "hashes": "", "sizes": "t"}, "bad", "m has other files than on gpu-1"),
        ({"largest": "9", "hashes": "i"}, "bad", "m has other files than on gpu-1"),
        ({"state": "missing"}, "bad", "m is not here"),
        ({"state": "wrong", "words": "why"}, "bad", "m cannot be used: why"),
    ],
)
def test_weights_are_the_heads(changed: dict[str, Any], state: str, words: str) -> None:
    other = msgspec.structs.replace(HERE, **changed)
    head, node = findings.weights("m", {"gpu-1": HERE, "gpu-2": other})
    assert shown(head) == ("ok", "m is here, 1.00 GiB")
    assert shown(node) == (state, words)


def test_another_commit_is_named() -> None:
    other = msgspec.structs.replace(HERE, commit="b" * 40, largest="")
    _, node = findings.weights("m", {"gpu-1": HERE, "gpu-2": other})
    assert node.words == "m is of commit bbbbbbbbbbbb, and aaaaaaaaaaaa on gpu-1"


def test_weights_as_they_lie(tmp_path: Path) -> None:
    asked = WantedWeights(kind="vllm", source=str(tmp_path / "model"))
    assert seen_weights(asked, tmp_path).state == "wrong"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "a.safetensors").write_bytes(b"abc")
    plain = seen_weights(asked, tmp_path)
    assert (plain.state, plain.size, plain.hashes, plain.commit) == ("here", 5, "", "")
    files = {"a.safetensors": StoredFile(3, "0" * 64), "config.json": StoredFile(2, "1" * 64)}
    manifest = WeightsManifest(source="a/b", commit="c" * 40, licence=None, files=files)
    write_manifest(folder, manifest)
    known = seen_weights(asked, tmp_path)
    assert (known.sizes, known.commit, known.size) == (plain.sizes, "c" * 40, 5)
    assert known.hashes
    (folder / "a.safetensors").write_bytes(b"ab")
    cut = seen_weights(asked, tmp_path)
    assert (cut.state, cut.words) == ("wrong", "a.safetensors has another size than fetched")
    (folder / "fjord-manifest.json").write_text("{")
    assert seen_weights(asked, tmp_path).state == "wrong"
    hub = WantedWeights(kind="vllm", source="nobody/nothing")
    assert seen_weights(hub, tmp_path).state == "missing"
