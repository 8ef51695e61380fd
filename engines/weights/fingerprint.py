"""What tells a folder of weights from another: sizes and samples of its files, and the hashes that
were kept when they were fetched."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engines.errors import EngineUnavailable
from engines.joined.weights_print import WeightsPrint
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
