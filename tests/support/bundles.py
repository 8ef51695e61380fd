"""Bundles for tests: made, verified and looked into; and such that nobody would make."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from engines.bundle.contents import BundlePiece
from engines.bundle.create import About, Created, create
from engines.bundle.manifest import BundleManifest, encoded
from engines.bundle.parts import PartsReader, all_parts
from engines.bundle.read import Opened, verified
from engines.bundle.seal import new_key, public_key, seal
from engines.bundle.tar import END, header, padding

ABOUT = About(created="2026-11-27T00:00:00+00:00", fjord="0", profile="p", aliases=("a",))
FILES = {
    "model_registry.yaml": b"models: {}\n",
    "weights/owner--name/" + "0" * 40 + "/model.safetensors": bytes(range(256)) * 400,
    "wheels/" + "n" * 120 + ".whl": b"zip",
    "fjord/.dockerignore": b"",
}


def quiet(what: str, done: int | None, total: int | None) -> None:
    pass


def made(path: Path, files: dict[str, bytes] | None = None, **how: Any) -> Created:
    pieces = [BundlePiece(name, content) for name, content in (files or FILES).items()]
    return create(pieces, ABOUT, path, quiet, **how)


def verify(path: Path, key: bytes | None = None) -> Opened:
    with PartsReader(all_parts([path])) as reader:
        return verified(reader, key, quiet)


def key_pair(folder: Path, name: str = "site") -> tuple[Path, bytes]:
    new_key(folder / f"{name}.key", folder / f"{name}.pub")
    return folder / f"{name}.key", public_key(folder / f"{name}.pub")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def vars_of(about: About) -> dict[str, Any]:
    return {name: getattr(about, name) for name in About.__slots__}


def manifest_with(files: list[dict[str, Any]] | None = None, **others: Any) -> bytes:
    written = json.loads(encoded(BundleManifest(**{**vars_of(ABOUT), "base": None, "files": ()})))
    return json.dumps({**written, "files": files or [], **others}).encode()


def archive(folder: Path, raw: bytes, sealed: bytes | None = None, rest: bytes = END) -> Path:
    """A file that is a bundle's as far as the manifest; `rest` is what stands behind its seal."""
    sealed = seal(raw, None) if sealed is None else sealed
    path = folder / "hostile.tar"
    blocks = [("manifest.json", raw), ("manifest.sig", sealed)]
    head = [header(n, len(c)) + c + bytes(padding(len(c))) for n, c in blocks]
    path.write_bytes(b"".join(head) + rest)
    return path


def entry(path: Any, content: bytes = b"x", **others: Any) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": path, "size": len(content), "sha256": digest, **others}


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = kind, size, link, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)
