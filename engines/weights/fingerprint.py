"""Whether two machines would read the same weights: sizes and samples of their files, and the
hashes that were kept when they were fetched."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engines.errors import EngineUnavailable
from engines.registry.spec import Source
from engines.weights.manifest import BadManifest, read_manifest
from engines.weights.store import selection_of

READ: Final = frozenset(
    (".safetensors", ".json", ".model", ".txt", ".jinja", ".py", ".bin", ".pt", ".tiktoken")
)
"""Suffixes of what an engine reads."""
MOST_FILES: Final = 1000
"""Of more the rest is one entry."""
_WHOLE: Final = 2**20
_SAMPLE: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPrint:
    """`files`: name -> size and a hash of the whole file, or of its first and last 64 KiB where it
    is larger than 1 MiB. `manifest`: a hash of what was fetched, byte for byte; "": not known."""

    files: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""


def fingerprint(spec: Source, folder: Path) -> WeightsPrint:
    """Reads little of each file. Blocks. Raises EngineUnavailable."""
    try:
        names = sorted(_names(folder))
        prints = {name: _print(folder / name) for name in names[:MOST_FILES]}
        if rest := names[MOST_FILES:]:
            every = "".join(f"{name}{_print(folder / name)}" for name in rest)
            prints["(more)"] = hashlib.sha256(every.encode()).hexdigest()[:32]
        return WeightsPrint(files=prints, manifest=_of_manifest(spec, folder))
    except BadManifest as error:
        raise EngineUnavailable(str(error)) from None
    except OSError as error:
        why = f"The weights of {spec.source} cannot be read: {error.strerror}"
        raise EngineUnavailable(why) from None


def difference(there: WeightsPrint, here: WeightsPrint) -> str | None:
    """What is another file there, in words; None: both are the same."""
    if there.manifest and here.manifest:
        return None if there.manifest == here.manifest else "another commit of them was fetched"
    for name in sorted({*there.files, *here.files}):
        if name not in there.files:
            return f"{name} is missing there"
        if name not in here.files:
            return f"{name} is there, and not here"
        if there.files[name] != here.files[name]:
            return f"{name} is another file there"
    return None


def _names(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.suffix in READ and not path.name.startswith((".", "fjord-")) and path.is_file():
            yield path.name


def _print(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read(_WHOLE))
        else:
            digest.update(file.read(_SAMPLE))
            file.seek(-_SAMPLE, 2)
            digest.update(file.read(_SAMPLE))
    return f"{size}:{digest.hexdigest()[:32]}"


def _of_manifest(spec: Source, folder: Path) -> str:
    manifest = read_manifest(folder)
    if manifest is None:
        return ""
    wanted = sorted(selection_of(spec).wanted(manifest.files))
    text = "\n".join(f"{name} {manifest.files[name].sha256}" for name in wanted)
    return hashlib.sha256(f"{manifest.commit}\n{text}".encode()).hexdigest()
