"""`fjord doctor --cluster`: one machine waits for the others and asks them; they come to it."""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import typer

from engines.probing.channel import OwnChannel, ProbedNode, ProbeFailed
from engines.probing.door import ProbeDoor, answer_all, arrived
from engines.probing.files import WantedWeights, wanted
from engines.probing.findings import ProbeFinding
from engines.probing.listeners import MOST_PORTS
from engines.probing.preflight import BOUND_S, Preflight, Wishes
from engines.probing.prober import Prober
from engines.probing.ray_nodes import ray_nodes
from engines.probing.told import told_here
from server import __version__
from server.accounts.node_token import node_token
from server.cli.chosen_models import chosen_models, weights_of
from server.cli.doctor.cluster_shown import told
from server.cli.registry_choice import open_registry
from server.cli.tables import printable
from server.refusal import CannotStart
from server.settings import Settings

PORT: Final = 8790
RAY: Final = "ray"
MOST_WANTED: Final = MOST_PORTS // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFlags:
    """As they were given."""

    where: str | None
    listens: bool
    nodes: int
    ports: str
    wait_s: float
    as_json: bool


def look_at_cluster(flags: ClusterFlags, settings: Settings) -> int:
    """The exit status. Raises CannotStart."""
    if flags.where == RAY and not flags.listens:
        return _in_ray(flags, settings)
    secret = node_token(settings.node_token, settings.node_token_file)
    if not secret:
        raise CannotStart(
            "--cluster needs a secret that all machines have, in FJORD_NODE_TOKEN or "
            "--node-token-file: make one with `openssl rand -hex 32`."
        )
    host, port = _address(flags.where, needs_host=not flags.listens)
    name, prober = _name(settings), _prober(settings)
    if not flags.listens:
        return asyncio.run(_come(host, port, name, secret, flags.wait_s, prober))
    wishes = _wishes(flags, settings)
    return asyncio.run(_head(host, port, name, secret, flags, prober, wishes))


def _in_ray(flags: ClusterFlags, settings: Settings) -> int:
    """Ray reaches all machines; nothing runs on the others."""
    name, wishes = _name(settings), _wishes(flags, settings)
    prober = _prober(settings)
    try:
        with ray_nodes(__version__, settings.data_dir, (name,)) as machines:
            if not machines.others:
                raise CannotStart("This machine is the Ray cluster's only one.")
            own = ProbedNode(name, OwnChannel(prober.tasks()), machines.address)
            found = asyncio.run(_probed(own, machines.others, wishes, prober))
    except ProbeFailed as error:
        raise CannotStart(f"--cluster ray: {printable(str(error))}.") from None
    return told(found, as_json=flags.as_json)


def _name(settings: Settings) -> str:
    return (settings.node or socket.gethostname())[:64]


def _prober(settings: Settings) -> Prober:
    return Prober(lambda: told_here(_name(settings), __version__), settings.data_dir)


def _wishes(flags: ClusterFlags, settings: Settings) -> Wishes:
    return Wishes(ports=ports_of(flags.ports), models=_models(settings))


async def _probed(
    own: ProbedNode, others: Sequence[ProbedNode], wishes: Wishes, prober: Prober
) -> list[ProbeFinding]:
    _say(f"probing {len(others) + 1} machines, within {BOUND_S:g} s")
    try:
        return await Preflight([own, *others], wishes, doing=_doing).run()
    finally:
        prober.close()


async def _come(host: str, port: int, name: str, secret: str, wait_s: float, prober: Prober) -> int:
    _say(f"{name} comes to {host}:{port}, within {wait_s:g} s")
    try:
        link = await arrived(host, port, secret, wait_s)
        _say("it is there: what it finds, it shows")
        own, all_ = await answer_all(link, name, prober.tasks())
    except ProbeFailed as error:
        raise CannotStart(f"{host}:{port}: {printable(str(error))}.") from None
    finally:
        prober.close()
    _say(f"{own} to mend here, {all_} on all machines" if all_ else "Nothing stands in the way.")
    return 1 if all_ else 0


async def _head(
    host: str,
    port: int,
    name: str,
    secret: str,
    flags: ClusterFlags,
    prober: Prober,
    wishes: Wishes,
) -> int:
    door = ProbeDoor(secret, flags.nodes - 1, lambda words: _say(printable(words)), names=(name,))
    try:
        async with door.open(host, port) as opened:
            _say(f"{name} waits on port {opened} for {flags.nodes - 1}, {flags.wait_s:g} s at most")
            found = await _found(door, name, flags, prober, wishes)
            bad = Counter(each.node for each in found if each.state == "bad")
            await door.over(bad)
    except OSError as error:
        where = f"{host or 'any address'}:{port}"
        raise CannotStart(f"--listen {where} cannot be: {error.strerror or error}.") from None
    finally:
        prober.close()
    return told(found, as_json=flags.as_json)


async def _found(
    door: ProbeDoor, name: str, flags: ClusterFlags, prober: Prober, wishes: Wishes
) -> list[ProbeFinding]:
    missing = not await door.all_here(flags.wait_s)
    found = []
    nodes = list(door.nodes)
    if missing:
        words = f"{len(nodes)} of {flags.nodes - 1} others came within {flags.wait_s:g} s"
        remedy = f"`fjord doctor --cluster {socket.gethostname()}:PORT` on each of them"
        found.append(
            ProbeFinding(node=name, name="machines", state="bad", words=words, remedy=remedy)
        )
    if nodes:
        own = ProbedNode(name, OwnChannel(prober.tasks()), door.own_address)
        found += await _probed(own, nodes, wishes, prober)
    return found


def _doing(what: str) -> None:
    _say(f"  {what}")


def _say(words: str) -> None:
    """Beside the findings, which are the output."""
    typer.echo(words, err=True)


def _models(settings: Settings) -> dict[str, WantedWeights]:
    """Of what a start loads on vLLM: nothing else runs on several machines."""
    opened = open_registry(settings)
    models = [m for m in chosen_models(opened, (), every=False) if m.engine.kind == "vllm"]
    found = {weights.shown: wanted(weights.spec) for weights in weights_of(models)}
    return {shown: each for shown, each in found.items() if each is not None}


def ports_of(text: str | None) -> Sequence[int]:
    """`29500,5000-5010`. Raises CannotStart."""
    found: list[int] = []
    for part in filter(None, (text or "").split(",")):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (_is_port(first) and _is_port(last) and int(first) <= int(last)):
            raise CannotStart(_wrong_ports(part))
        found += range(int(first), min(int(last), int(first) + MOST_WANTED) + 1)
    if len(set(found)) > MOST_WANTED:
        raise CannotStart(_wrong_ports(text or ""))
    return sorted(set(found))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 65535


def _wrong_ports(text: str) -> str:
    return (
        f"--ports {text[:80]!r} is wrong: right would be ports and ranges as 29500,5000-5010, "
        f"{MOST_WANTED} at most."
    )


def _address(text: str | None, *, needs_host: bool) -> tuple[str, int]:
    """`HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; "": any address."""
    host, port = text or "", str(PORT)
    if host.startswith("[") or host.count(":") == 1:
        host, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", port)
    host = host.strip("[]")
    is_listening = not needs_host and port == "0"
    if not (_is_port(port) or is_listening) or (needs_host and not host):
        raise CannotStart(
            f"{(text or '')[:80]!r} is no HOST:PORT: right would be gpu-1:{PORT}, for example."
        )
    return host, int(port)
