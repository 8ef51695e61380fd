"""Whether two machines would read the same weights, by what each tells of its files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from engines.registry.spec import EngineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPrint:
    """`files`: name -> size and a hash of the whole file, or of its first and last 64 KiB where it
    is larger than 1 MiB. `manifest`: a hash of what was fetched, byte for byte; "": not known."""

    files: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""


_SHOWN: Final = 200

TellWeights: TypeAlias = Callable[[EngineSpec, Path], WeightsPrint]
"""Of a folder that holds a spec's. Blocks. Raises EngineUnavailable."""


def difference(there: WeightsPrint, here: WeightsPrint) -> str | None:
    """What is another file there, in words; None: both are the same."""
    if there.manifest and here.manifest:
        return None if there.manifest == here.manifest else "another commit of them was fetched"
    for name in sorted({*there.files, *here.files}):
        shown = name[:_SHOWN]
        if name not in there.files:
            return f"{shown} is missing there"
        if name not in here.files:
            return f"{shown} is there, and not here"
        if there.files[name] != here.files[name]:
            return f"{shown} is another file there"
    return None
