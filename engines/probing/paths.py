"""Which address of a machine the others reach, and on which ports; pure, of what was tried."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engines.probing.findings import ProbeFinding, ProbeState
from engines.probing.reaching import Outcome
from engines.probing.told import NodeTold

OF_CONTAINERS: Final = ("docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "lxc")
"""Interfaces of one machine alone, by how their names begin."""
NAMED: Final = 6
MOST_TRIED: Final = 8
"""Of a machine's addresses: a host of containers has hundreds."""
REMEDY: Final[Mapping[Outcome, str]] = {
    "filtered": "let it through: the firewall of {to}, or of what is between, drops it from {by}",
    "refused": "let it through: the firewall of {to} refuses it from {by}, or {at} is another's",
    "no route": "`ip route get {at}` on {by} finds no way",
    "another": "what answers there is not {to}: {at} is another's, or a proxy is between",
}


@dataclass(frozen=True, slots=True)
class Paths:
    """What was tried towards one machine."""

    node: str
    told: NodeTold
    hint: str
    """The address by which its link came."""
    reached: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    """By address, then by who tried."""
    is_joined: bool = False
    """Its engines speak by the hint, which Fjord sets."""

    @property
    def is_settled(self) -> bool:
        return self.is_joined and self.hint in self.told.addresses

    @property
    def candidates(self) -> list[str]:
        """Its addresses that another machine may reach, the likeliest first, a few."""
        found = [
            address
            for address, interface in self.told.addresses.items()
            if not interface.startswith(OF_CONTAINERS)
        ]
        first = (self.told.choices.get("VLLM_HOST_IP", ""), self.hint, self.told.own)
        found.sort(key=lambda a: first.index(a) if a in first else len(first))
        return found[:MOST_TRIED]

    @property
    def chosen(self) -> str:
        """What its engines take anyway, or all others reach, else most; "": it has none."""
        if self.is_settled:
            return self.hint

        def reached(address: str) -> int:
            return sum(each == "ok" for each in self.reached.get(address, {}).values())

        return max(self.candidates, key=reached, default="")

    @property
    def interface(self) -> str:
        return self.told.addresses.get(self.chosen, "")

    @property
    def mtu(self) -> int:
        return next((each.mtu for each in self.told.interfaces if each.name == self.interface), 0)


def address(paths: Paths) -> ProbeFinding:
    """Which one all others reach, and what to set where an engine would take another."""
    shown = ", ".join(f"{a} ({paths.told.addresses[a]})" for a in paths.candidates[:NAMED])
    if not paths.chosen:
        remedy = "give it one that is not the loopback's"
        return _finding(paths, "bad", "it has no address that others could reach", remedy)
    tried = paths.reached.get(paths.chosen, {})
    failed = [by for by, outcome in tried.items() if outcome != "ok"]
    if len(failed) == len(tried) and tried:
        words = f"no address is reached from {', '.join(failed[:NAMED])}: {shown}"
        return _finding(paths, "bad", words, _why(paths, failed[0], tried[failed[0]]))
    if failed:
        words = f"{paths.chosen} is not reached from {', '.join(failed[:NAMED])}"
        return _finding(paths, "bad", words, _why(paths, failed[0], tried[failed[0]]))
    if (wrong := _wrong_choice(paths)) is not None:
        return _finding(paths, "bad", wrong, f"set {_settings(paths)}")
    words = f"{paths.chosen} ({paths.interface})"
    if paths.is_settled:
        return _finding(paths, "ok", f"{words}, by which it has joined, reached by all")
    if _is_chosen(paths):
        return _finding(paths, "ok", f"{words}, reached by all")
    if len({paths.told.addresses[a] for a in paths.candidates}) > 1:
        words = f"all reach {words}, of several: {shown}"
        return _finding(paths, "note", words, f"set {_settings(paths)}")
    if paths.told.own != paths.chosen:
        words += f", reached by all; by itself it would take {paths.told.own or 'none'}"
        return _finding(paths, "note", words, f"set {_settings(paths)}")
    return _finding(paths, "ok", f"{words}, reached by all")


def _finding(paths: Paths, state: ProbeState, words: str, remedy: str = "") -> ProbeFinding:
    return ProbeFinding(node=paths.node, name="address", state=state, words=words, remedy=remedy)


def _settings(paths: Paths) -> str:
    interface = paths.interface
    return (
        f"VLLM_HOST_IP={paths.chosen} GLOO_SOCKET_IFNAME={interface} NCCL_SOCKET_IFNAME={interface}"
    )


def _wrong_choice(paths: Paths) -> str | None:
    """Of its environment."""
    said = paths.told.choices
    if (own := said.get("VLLM_HOST_IP", "")) and own != paths.chosen:
        if paths.is_settled:
            return f"VLLM_HOST_IP={own} is not {paths.chosen}, by which it has joined"
        known = "not reached by all" if own in paths.told.addresses else "none of its addresses"
        return f"VLLM_HOST_IP={own} is {known}"
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if (chosen := said.get(name)) and not _names(chosen, paths.interface, name):
            return f"{name}={chosen} is not {paths.interface}, by which {paths.chosen} is reached"
    return None


def _names(chosen: str, interface: str, variable: str) -> bool:
    """gloo takes names; NCCL beginnings of names, `=` names, `^` all others."""
    names = chosen.lstrip("^=").split(",")
    if variable.startswith("GLOO") or chosen.startswith("="):
        return interface in names
    return interface.startswith(tuple(names)) != chosen.startswith("^")


def _is_chosen(paths: Paths) -> bool:
    return {"VLLM_HOST_IP", "GLOO_SOCKET_IFNAME"} <= paths.told.choices.keys()


def _why(paths: Paths, by: str, outcome: Outcome) -> str:
    return REMEDY.get(outcome, "").format(to=paths.node, by=by, at=paths.chosen)


@dataclass(frozen=True, slots=True)
class TriedPorts:
    """Ports of one machine: those that a start names, and free ones that the system chose."""

    paths: Paths
    wanted: Mapping[int, str]
    """Each with why it could not listen there; "": it did."""
    free: Sequence[int]
    outcomes: Mapping[str, Mapping[int, Outcome]]
    """By who tried."""


def ports(tried: TriedPorts) -> Iterator[ProbeFinding]:
    """One line where all are reached, else one for each that tried in vain and how."""
    node, is_well = tried.paths.node, True
    for port, why in tried.wanted.items():
        if why:
            is_well = False
            remedy = "end what has it (`ss -ltnp`), or let the start take another (--ports)"
            yield _of_ports(node, f"{port} cannot be listened on: {why}", remedy)
    for by, outcomes in tried.outcomes.items():
        for outcome in dict.fromkeys(each for each in outcomes.values() if each != "ok"):
            is_well = False
            yield _not_reached(tried, by, outcome)
    if is_well:
        wanted = _listed(list(tried.wanted))
        words = f"{wanted + ' and ' if wanted else ''}{len(tried.free)} free ones, from all"
        yield ProbeFinding(node=node, name="ports", state="ok", words=words)


def _not_reached(tried: TriedPorts, by: str, outcome: Outcome) -> ProbeFinding:
    failed = [port for port, each in tried.outcomes[by].items() if each == outcome]
    named = [port for port in failed if port in tried.wanted]
    free = [port for port in failed if port in tried.free]
    parts = [_listed(named)] if named else []
    parts += [f"free ones as {_listed(free)}"] if free else []
    words = f"{by} -> {tried.paths.node}: {outcome}: {' and '.join(parts)}"
    remedy = _why(tried.paths, by, outcome)
    if free:
        remedy += "; engines take free ports (net.ipv4.ip_local_port_range)"
    return _of_ports(tried.paths.node, words, remedy)


def _of_ports(node: str, words: str, remedy: str) -> ProbeFinding:
    return ProbeFinding(node=node, name="ports", state="bad", words=words, remedy=remedy)


def _listed(ports: Sequence[int]) -> str:
    """29500, 5000-5003."""
    runs: list[list[int]] = []
    for port in sorted(ports):
        if runs and runs[-1][-1] == port - 1:
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
