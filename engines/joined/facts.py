"""What a machine tells of itself to its head, and in which of its versions two differ."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from engines.host.nvidia import driver_version
from engines.planning.machine import free_card_bytes, visible_cards
from engines.registry.vllm_models import vllm_version

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"
Name = Annotated[str, Meta(pattern=NAME)]
Text = Annotated[str, Meta(max_length=2000)]
Version = Annotated[str, Meta(max_length=100)]
_BOOT = Path("/proc/sys/kernel/random/boot_id")
NONE: Final = "none"
"""The version of what is not installed."""


class JoinedCard(msgspec.Struct, frozen=True, kw_only=True):
    """One card; bytes."""

    name: Version
    total: Annotated[int, Meta(ge=0, le=2**53)]


class JoinedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One machine; "none" is the version of what is not installed."""

    name: Name
    fjord: Version
    vllm: Version
    torch: Version
    python: Version
    driver: Version
    boot: Version
    """The same for what runs on one machine at a time; "": it is not known."""
    cards: Annotated[tuple[JoinedCard, ...], Meta(max_length=64)] = ()


def facts_name(text: str) -> str:
    """The nearest to it that a link has a place for."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:64] or "node"


def these_facts(name: str, fjord: str) -> JoinedFacts:
    """Of this machine; nothing is imported. About 50 ms where it has cards."""
    return JoinedFacts(
        name=name,
        fjord=fjord,
        vllm=vllm_version() or NONE,
        torch=_installed("torch"),
        python=platform.python_version(),
        driver=driver_version() or NONE,
        boot=_boot_id(),
        cards=tuple(
            JoinedCard(name=card.name[:100], total=card.total_bytes)
            for card in visible_cards(os.environ)
        ),
    )


def free_bytes() -> tuple[int, ...]:
    """Of each card. Blocks for about 50 ms where there are some."""
    return free_card_bytes(os.environ)


def differences(node: JoinedFacts, head: JoinedFacts) -> Iterator[str]:
    """`vLLM 0.31.0 instead of 0.32.0`: what keeps the two from running parts of one engine."""
    for what, label in (("fjord", "Fjord"), ("vllm", "vLLM"), ("torch", "torch")):
        there, here = getattr(node, what), getattr(head, what)
        if there != here:
            yield f"{label} {there} instead of {here}"
    if _minor(node.python) != _minor(head.python):
        yield f"Python {node.python} instead of {head.python}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return NONE


def _boot_id() -> str:
    try:
        return _BOOT.read_text("ascii").strip()[:100]
    except (OSError, ValueError):
        return ""
