"""What a folder of weights says of itself: source, commit, licence; sizes and SHA-256 of files."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "fjord-manifest.json"


class BadManifest(ValueError):
    """The message says which file is wrong, and how."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as it was fetched; the SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsManifest:
    """One commit of one repository, as far as it was fetched."""

    source: str
    commit: str
    licence: str | None
    """As the hub's card has it: apache-2.0, llama3.1, …"""
    files: Mapping[str, StoredFile]
    """By path within the folder. What is not named here is not here yet."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def read_manifest(folder: Path) -> WeightsManifest | None:
    """None: there is none. Raises BadManifest."""
    path = folder / MANIFEST
    try:
        return _manifest(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadManifest(f"{path} cannot be read ({error}); fetch the weights again") from None


def _manifest(read: Mapping[str, Any]) -> WeightsManifest:
    files = {str(name): StoredFile(**each) for name, each in read["files"].items()}
    return WeightsManifest(
        source=read["source"], commit=read["commit"], licence=read["licence"], files=files
    )


def write_manifest(folder: Path, manifest: WeightsManifest) -> None:
    """As a whole or not at all."""
    part = folder / f".{MANIFEST}.{os.getpid()}"
    part.write_text(as_text(manifest), "utf-8")
    part.replace(folder / MANIFEST)


def as_text(manifest: WeightsManifest) -> str:
    """The file's content."""
    written = {
        "source": manifest.source,
        "commit": manifest.commit,
        "licence": manifest.licence,
        "files": {
            name: {"size": file.size, "sha256": file.sha256}
            for name, file in sorted(manifest.files.items())
        },
    }
    return json.dumps(written, indent=1) + "\n"
