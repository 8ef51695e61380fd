"""What a machine tells of itself: versions, interfaces, memory, cards. Every part has a size."""

import importlib.metadata
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Final

import msgspec
import psutil
from msgspec import Meta

from engines.host.nvidia import driver_version
from engines.planning.machine import free_card_bytes, free_host_bytes, host_bytes, visible_cards
from engines.registry.vllm_models import vllm_version

Words = Annotated[str, Meta(max_length=128)]
Address = Annotated[str, Meta(max_length=64, pattern=r"^[0-9a-fA-F.:%A-Za-z]*\Z")]
Amount = Annotated[int, Meta(ge=0, le=2**53)]
NONE: Final = "none"
CHOICES: Final = ("VLLM_HOST_IP", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""What says which address and interface engines take."""
MOST_INTERFACES, MOST_ADDRESSES = 32, 8
LIBRARIES: Final = {"torch": "torch", "Ray": "ray", "NCCL": "nvidia-nccl-cu13"}
_NOWHERE: Final = ("198.51.100.1", 1)  # RFC 5737; nothing is sent


class ProbedInterface(msgspec.Struct, frozen=True, kw_only=True):
    """One that is up and is no loopback, with its addresses that others may reach."""

    name: Words
    addresses: Annotated[tuple[Address, ...], Meta(max_length=MOST_ADDRESSES)]
    mtu: Amount = 0
    mbit: Amount = 0
    """0: it does not say."""


class ProbedCard(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes."""

    name: Words
    total: Amount
    free: Amount


class NodeTold(msgspec.Struct, frozen=True, kw_only=True):
    """One machine; "none" is the version of what is not installed."""

    name: Words
    versions: Annotated[dict[Words, Words], Meta(max_length=16)]
    interfaces: Annotated[tuple[ProbedInterface, ...], Meta(max_length=MOST_INTERFACES)] = ()
    choices: Annotated[dict[Words, Words], Meta(max_length=len(CHOICES))] = {}
    """Of `CHOICES`, what its environment says."""
    own: Address = ""
    """What it takes for its address where nobody chooses: by its route to everywhere."""
    total: Amount = 0
    free: Amount = 0
    cards: Annotated[tuple[ProbedCard, ...], Meta(max_length=64)] = ()

    @property
    def addresses(self) -> dict[str, str]:
        """Each with its interface."""
        return {found: each.name for each in self.interfaces for found in each.addresses}


def told_here(name: str, fjord: str, environment: Mapping[str, str] = os.environ) -> NodeTold:
    """Of this machine; no library of a model is imported. About 100 ms where it has cards."""
    return NodeTold(
        name=name[:128],
        versions=_versions(fjord),
        interfaces=tuple(_interfaces())[:MOST_INTERFACES],
        choices={each: environment[each][:128] for each in CHOICES if environment.get(each)},
        own=_own_address(),
        total=host_bytes() or 0,
        free=free_host_bytes(),
        cards=_cards(environment),
    )


def _versions(fjord: str) -> dict[str, str]:
    libraries = {name: _installed(distribution) for name, distribution in LIBRARIES.items()}
    return {
        "Fjord": fjord,
        "Python": platform.python_version(),
        "vLLM": vllm_version() or NONE,
        **libraries,
        "driver": driver_version() or NONE,
    }


def _installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)[:128]
    except importlib.metadata.PackageNotFoundError:
        return NONE


def _interfaces() -> Iterator[ProbedInterface]:
    states = psutil.net_if_stats()
    for name, found in psutil.net_if_addrs().items():
        state = states.get(name)
        addresses = [each.address for each in found if _is_reachable(each.family, each.address)]
        if addresses and (state is None or state.isup):
            yield ProbedInterface(
                name=name[:128],
                addresses=tuple(addresses[:MOST_ADDRESSES]),
                mtu=state.mtu if state else 0,
                mbit=max(0, state.speed) if state else 0,
            )


def _is_reachable(family: int, address: str) -> bool:
    """By others: neither the loopback's nor the link's own."""
    if family == socket.AF_INET:
        return not address.startswith(("127.", "169.254."))
    return family == socket.AF_INET6 and not address.lower().startswith(("fe80", "::1"))


def _own_address() -> str:
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_NOWHERE)
        return str(probe.getsockname()[0])
    return ""


def _cards(environment: Mapping[str, str]) -> tuple[ProbedCard, ...]:
    cards, free = visible_cards(environment), free_card_bytes(environment)
    return tuple(
        ProbedCard(name=card.name[:128], total=card.total_bytes, free=left)
        for card, left in zip(cards, free, strict=False)
    )
