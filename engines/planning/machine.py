"""What engines may run on: its cards and its memory, as asked for or as they are here."""

import csv
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from engines.host.cpu import CACHE_BYTES, has_bfloat16
from engines.planning.cards import GIB, USABLE, Card

_QUERY = "--query-gpu=index,uuid,name,memory."
_FORM = "--format=csv,noheader,nounits"
_MIB = 2**20
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`host_bytes` None: the memory is not known, and nothing is refused for it."""

    cards: tuple[Card, ...] = ()
    host_bytes: int | None = None
    cpu_dtype: str = "BF16"
    """What vLLM computes in on its CPU."""
    cpu_cache_bytes: int = CACHE_BYTES

    @property
    def here(self) -> "Machine":
        """Without the cards of other machines, which come behind its own."""
        return replace(self, cards=tuple(card for card in self.cards if not card.node))

    @property
    def nodes(self) -> tuple[int, ...]:
        """Of each card the number of its machine, 0 this one."""
        names = list(dict.fromkeys(["", *(card.node for card in self.cards)]))
        return tuple(names.index(card.node) for card in self.cards)


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """What nvidia-smi and the system say; no card where there is no nvidia-smi. About 50 ms."""
    host = host_bytes()
    return Machine(
        cards=visible_cards(environment),
        host_bytes=host,
        cpu_dtype="BF16" if has_bfloat16() else "F32",
        cpu_cache_bytes=min(CACHE_BYTES, (host or 4 * CACHE_BYTES) // 4),
    )


def host_bytes(limits: Sequence[str] = _LIMITS) -> int | None:
    """The memory that this process may have: the machine's, or its container's. None: unknown."""
    try:
        total = psutil.virtual_memory().total
    except (OSError, RuntimeError):
        return None
    return min([total, *filter(None, map(_limit, limits))])


def free_host_bytes(limits: Sequence[str] = _LIMITS) -> int:
    """Of the memory that this process may have, what could be had now; 0: unknown."""
    try:
        free = psutil.virtual_memory().available
    except (OSError, RuntimeError):
        return 0
    return min([free, *filter(None, map(_limit, limits))])


def _limit(path: str) -> int | None:
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) > 0 else None


def visible_cards(environment: Mapping[str, str]) -> tuple[Card, ...]:
    """Those that CUDA_VISIBLE_DEVICES leaves, in its order."""
    return tuple(_card(row) for row in _visible(environment, "total") if int(row[3]))


def free_card_bytes(environment: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """Of each of `visible_cards`, what nobody holds now, whoever it is. Blocks for about 50 ms."""
    return tuple(int(row[3]) * _MIB for row in _visible(environment, "free"))


def _visible(environment: Mapping[str, str], memory: str) -> list[list[str]]:
    rows = _listed(memory)
    asked = environment.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return rows
    names = [name.strip() for name in asked.split(",") if name.strip()]
    found = [next((row for row in rows if _is_named(row, name)), None) for name in names]
    return [row for row in found if row is not None]


def _is_named(row: Sequence[str], name: str) -> bool:
    return row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))


def _listed(memory: str) -> list[list[str]]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        asked = subprocess.run(
            [tool, _QUERY + memory, _FORM], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return _rows(asked.stdout)


def _rows(listed: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(listed.splitlines())]
    return [row for row in rows if len(row) == 4 and row[3].isdigit()]


def cards_elsewhere(listed: str, node: str, count: int) -> tuple[Card, ...]:
    """The first `count` of what nvidia-smi lists on another machine."""
    rows = [row for row in _rows(listed) if int(row[3])][:count]
    return tuple(replace(_card(row), node=node) for row in rows)


def _card(row: Sequence[str]) -> Card:
    """A driver keeps some of what it counts for itself."""
    mib = int(row[3])
    name = row[2].removeprefix("NVIDIA ")
    return Card(total_bytes=int(mib * USABLE * GIB / 1024), label_gb=round(mib / 1024), name=name)
