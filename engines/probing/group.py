"""A handshake of all machines at once, as an engine over them begins."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from engines.probing.asking import ask, of_all
from engines.probing.channel import ProbedNode
from engines.probing.findings import ProbeFinding
from engines.probing.handshake import IMPORT_S, Handshake
from engines.probing.paths import Paths
from engines.probing.told import NONE
from engines.probing.wire import HANDSHAKE, Shaken

SHAKE_S: Final = 20.0
AWAY: Final = ("its link", "it is away")
FREE_CARD: Final = 2 * 2**30
"""A CUDA context and NCCL's buffers, which must take nothing of an engine that serves."""
Backend = Literal["gloo", "nccl"]
REMEDY: Final = "set {}_SOCKET_IFNAME to the interface that its address line names, on all machines"


def untried(backend: Backend, paths: Mapping[str, Paths], is_reached: bool) -> str | None:
    """Why it is not begun; None: it may be."""
    for each in paths.values():
        if each.told.versions.get("torch", NONE) == NONE:
            return f"torch is not installed on {each.node}"
        if backend == "nccl" and not each.told.cards:
            return f"no card on {each.node}"
        if backend == "nccl" and each.told.cards[0].free < FREE_CARD:
            return f"card 0 of {each.node} has no room beside what runs on it"
    return None if is_reached else "addresses and ports come first"


async def handshake(
    backend: Backend, nodes: Sequence[ProbedNode], paths: Mapping[str, Paths], port: int
) -> Iterator[ProbeFinding]:
    """A line of each."""
    parts = {
        node.name: Handshake(
            backend=backend,
            rank=rank,
            size=len(nodes),
            address=paths[nodes[0].name].chosen,
            port=port,
            interface=_interface(backend, paths[node.name]),
            timeout_s=SHAKE_S,
        )
        for rank, node in enumerate(nodes)
    }

    async def one(node: ProbedNode) -> Shaken:
        bound = SHAKE_S + IMPORT_S + 1.0
        return await ask(node, HANDSHAKE, parts[node.name], Shaken, bound)

    shaken, failed = await of_all(nodes, one)
    return _findings(backend, [node.name for node in nodes], shaken, failed)


def _interface(backend: Backend, paths: Paths) -> str:
    """What its environment says stays."""
    said = f"{backend.upper()}_SOCKET_IFNAME"
    return "" if said in paths.told.choices else paths.interface


def _findings(
    backend: Backend,
    names: Sequence[str],
    shaken: Mapping[str, Shaken],
    failed: Mapping[str, str],
) -> Iterator[ProbeFinding]:
    away = [name for name, why in failed.items() if why.startswith(AWAY)]
    for name in names:
        if name in shaken:
            words = f"{len(names)} machines met in {shaken[name].seconds:.1f} s"
            yield ProbeFinding(node=name, name=backend, state="ok", words=words)
        else:
            others = ", ".join(each for each in away if each != name)
            remedy = f"{others} left meanwhile" if others else _remedy(backend, failed[name])
            yield ProbeFinding(
                node=name, name=backend, state="bad", words=failed[name], remedy=remedy
            )


def _remedy(backend: Backend, why: str) -> str:
    if why.startswith(("no answer", *AWAY)):
        return ""
    if "NCCL built in" in why:
        return "install torch as it is built for CUDA"
    return REMEDY.format(backend.upper())
