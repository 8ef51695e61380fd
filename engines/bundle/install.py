"""A bundle into the data directory: staged, every byte compared, then there at once.

data/bundles/<id>/        what a bundle carries, as it is in the file, and its manifest
data/bundles/.<id>.new/   what has come so far; a second run goes on with it
data/bundle               a link to the one that is in use, changed in one step
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engines.bundle.errors import BundleError
from engines.bundle.manifest import MANIFEST, SEAL, BundledFile, decoded
from engines.bundle.parts import PartsReader
from engines.bundle.read import CHUNK, Opened, Progress, opened, read_end, read_file, skip_file

LINK, FOLDER = "bundle", "bundles"
ID_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Installed:
    """What is in use now, and whether anything had to be done for it."""

    found: Opened
    folder: Path
    is_new: bool


def install(
    paths: list[Path],
    data_dir: Path,
    key: bytes | None,
    progress: Progress,
    *,
    is_enough_if_installed: bool = False,
) -> Installed:
    """Raises BundleError; what was installed before is then still in use. With
    `is_enough_if_installed` what is in use already is not read again."""
    with PartsReader(paths) as reader:
        found = opened(reader, key)
        place = _Place(data_dir.absolute() / FOLDER, found)
        if is_enough_if_installed and installed_id(data_dir) == place.final.name:
            return Installed(found, place.final, False)
        try:
            is_new = place.fill(reader, progress)
            _point(data_dir.absolute(), place.final)
        except OSError as error:
            raise BundleError(f"{error.filename or data_dir}: {error.strerror or error}") from None
    return Installed(found, place.final, is_new)


def installed_id(data_dir: Path) -> str | None:
    """The name of the folder that is in use."""
    link = data_dir / LINK
    return link.resolve().name if link.is_symlink() and link.exists() else None


@dataclass(slots=True)
class _Place:
    """Where one bundle goes."""

    root: Path
    found: Opened
    _elsewhere: dict[tuple[str, int], list[Path]] = field(default_factory=dict)

    @property
    def final(self) -> Path:
        return self.root / self.found.id[:ID_DIGITS]

    @property
    def staged(self) -> Path:
        return self.root / f".{self.found.id[:ID_DIGITS]}.new"

    def fill(self, reader: PartsReader, progress: Progress) -> bool:
        """Whether anything was missing or damaged."""
        self.staged.mkdir(parents=True, exist_ok=True)
        self._elsewhere = _files_by_hash(self.root)
        self._refuse_without_room()
        came = 0
        for file in self.found.manifest.files:
            progress("installing", reader.position, reader.size)
            came += self._one(reader, file, progress)
        read_end(reader)
        if self.final.exists() and came == 0:
            shutil.rmtree(self.staged)
            return False
        self._put_in_place()
        return True

    def _one(self, reader: PartsReader, file: BundledFile, progress: Progress) -> int:
        """1 where it came out of the archive, or is new here; 0 where it was installed."""
        target = self.staged / file.path
        if _is(target, file):
            if not file.is_in_base:
                skip_file(reader, file)
            return 1
        here = self._here(file)
        if here is not None:
            _link_or_copy(here, target)
            if not file.is_in_base:
                skip_file(reader, file)
            return 0 if here.is_relative_to(self.final) else 1
        if file.is_in_base:
            raise self._lacks_base(file)
        _write(reader, file, target, progress)
        return 1

    def _here(self, file: BundledFile) -> Path | None:
        """The same bytes in a bundle that is installed; they are compared, not believed."""
        named = self._elsewhere.get((file.sha256, file.size), [])
        return next((path for path in named if _is(path, file)), None)

    def _lacks_base(self, file: BundledFile) -> BundleError:
        base = (self.found.manifest.base or "")[:ID_DIGITS]
        return BundleError(
            f"this bundle holds what changed since bundle {base}, and {file.path} is in none that "
            f"is installed in {self.root}, or is damaged there; install bundle {base} first"
        )

    def _refuse_without_room(self) -> None:
        needed = sum(
            file.size
            for file in self.found.manifest.carried
            if not (self.staged / file.path).exists()
            and (file.sha256, file.size) not in self._elsewhere
        )
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise BundleError(
                f"the bundle needs {needed / 1e9:.1f} GB more and {self.root} has "
                f"{free / 1e9:.1f} GB free; make room, or choose another --data-dir"
            )

    def _put_in_place(self) -> None:
        """In one step; or, where it is there and damaged, file by file, each in one: the bundle
        that is in use is never away, and what a kill leaves to be mended the next run mends."""
        (self.staged / MANIFEST).write_bytes(self.found.raw)
        (self.staged / SEAL).write_bytes(self.found.raw_seal)
        os.sync()
        if not self.final.exists():
            self.staged.rename(self.final)
            return
        for name in (*(file.path for file in self.found.manifest.files), SEAL, MANIFEST):
            _mend(self.staged / name, self.final / name)
        os.sync()
        shutil.rmtree(self.staged)


def _mend(whole: Path, target: Path) -> None:
    """Whatever lies at `target`, or where its folder should be."""
    if target.exists() and not target.is_symlink() and target.samefile(whole):
        return
    for folder in reversed(target.parents):
        if folder.exists() and not folder.is_dir():
            folder.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    whole.replace(target)


def _write(reader: PartsReader, file: BundledFile, target: Path, progress: Progress) -> None:
    """It has its name when its bytes are right; a damaged one leaves nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{hashlib.sha256(file.path.encode()).hexdigest()[:16]}.part")
    try:
        with part.open("wb") as out:

            def sink(chunk: bytes) -> None:
                out.write(chunk)
                progress("installing", reader.position, reader.size)

            read_file(reader, file, sink)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _files_by_hash(root: Path) -> dict[tuple[str, int], list[Path]]:
    """Of all bundles that are installed."""
    found: dict[tuple[str, int], list[Path]] = {}
    for folder, files in _installed(root):
        for file in files:
            found.setdefault((file.sha256, file.size), []).append(folder / file.path)
    return found


def _installed(root: Path) -> Iterator[tuple[Path, tuple[BundledFile, ...]]]:
    for path in sorted(root.glob(f"[0-9a-f]*/{MANIFEST}")):
        try:
            yield path.parent, decoded(path.read_bytes()).files
        except (BundleError, OSError):  # damaged: what it has comes out of the archive
            continue


def _is(path: Path, file: BundledFile) -> bool:
    """Whether the file is there with these bytes."""
    try:
        if path.is_symlink() or path.stat().st_size != file.size:
            return False
        digest = hashlib.sha256()
        with path.open("rb") as read:
            while chunk := read.read(CHUNK):
                digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == file.sha256


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _point(data_dir: Path, folder: Path) -> None:
    """Another link gets the name in one step: a server that starts meanwhile sees one or the
    other."""
    new = data_dir / f".{LINK}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(folder.relative_to(data_dir))
    new.replace(data_dir / LINK)
