"""Weights in plain folders, one a commit: <root>/owner--name/<commit>/ and its manifest.

    weights/Qwen--Qwen3-0.6B/
      refs/main                 the commit that `main` was when it was fetched
      <commit>/config.json …    the repository's files, under their own names
      <commit>/fjord-manifest.json
      <commit>/.parts/          what is still being fetched

Asks no hub, and imports nothing of it.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from engines.registry.sources import COMMIT
from engines.registry.spec import Source
from engines.weights.manifest import MANIFEST, BadManifest, WeightsManifest, read_manifest
from engines.weights.selection import Selection

DIR_VARIABLE = "FJORD_WEIGHTS_DIR"
BUNDLE = "bundle"
"""The link in the data directory to the bundle that is installed; its weights are a store too."""
PARTS = ".parts"


def weights_root(data_dir: Path, environment: Mapping[str, str]) -> Path:
    """Where weights are fetched to: FJORD_WEIGHTS_DIR, else `weights` in the data directory."""
    named = environment.get(DIR_VARIABLE)
    return (Path(named).expanduser() if named else data_dir / "weights").absolute()


class WeightsStore:
    """One root with its repositories. Every method works on the disk alone."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def repository(self, source: str) -> Path:
        return self.root / source.replace("/", "--")

    def folder(self, source: str, commit: str) -> Path:
        return self.repository(source) / commit

    def commit_of(self, source: str, revision: str | None) -> str | None:
        """What a branch or tag was when it was last fetched; a commit is itself."""
        if revision is not None and COMMIT.fullmatch(revision):
            return revision
        try:
            commit = self._ref(source, revision).read_text("utf-8").strip()
        except OSError:
            return None
        return commit if COMMIT.fullmatch(commit) else None

    def point(self, source: str, revision: str | None, commit: str) -> None:
        """The branch or tag is this commit from now on."""
        if revision is not None and COMMIT.fullmatch(revision):
            return
        ref = self._ref(source, revision)
        ref.parent.mkdir(parents=True, exist_ok=True)
        part = ref.with_name(f".{ref.name}")
        part.write_text(commit + "\n", "utf-8")
        part.replace(ref)

    def find(self, source: str, revision: str | None, selection: Selection) -> Path | None:
        """The folder, or the GGUF in it, if all that was selected was fetched."""
        commit = self.commit_of(source, revision)
        folder = None if commit is None else self.folder(source, commit)
        manifest = None if folder is None else _readable_manifest(folder)
        if folder is None or manifest is None:
            return None
        try:
            return selection.weights(folder, sorted(manifest.files))
        except (OSError, ValueError, KeyError, AttributeError):  # a damaged index
            return None

    def folders(self) -> Iterator[Path]:
        """Of every commit that was fetched, wholly or in part."""
        for each in sorted(self.root.glob("*--*/*")):
            if COMMIT.fullmatch(each.name) and each.is_dir():
                yield each

    def remove(self, source: str, commit: str) -> None:
        """The manifest first: what is half removed is not there."""
        folder = self.folder(source, commit)
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        for ref in self.repository(source).glob("refs/*"):
            if ref.read_text("utf-8").strip() == commit:
                ref.unlink()
        if not any(COMMIT.fullmatch(each.name) for each in self.repository(source).iterdir()):
            shutil.rmtree(self.repository(source), ignore_errors=True)

    def _ref(self, source: str, revision: str | None) -> Path:
        return self.repository(source) / "refs" / quote(revision or "main", safe="")


def stores(data_dir: Path, environment: Mapping[str, str]) -> tuple[WeightsStore, WeightsStore]:
    """That of what is fetched, and that of the bundle that is installed."""
    root = weights_root(data_dir, environment)
    return WeightsStore(root), WeightsStore(data_dir.absolute() / BUNDLE / "weights")


def stored_weights(spec: Source, data_dir: Path, environment: Mapping[str, str]) -> Path | None:
    """Of a hub's model or adapter: the folder or the GGUF file, where a store has it whole."""
    selection = selection_of(spec)
    found = (
        store.find(spec.source, spec.revision, selection) for store in stores(data_dir, environment)
    )
    return next((path for path in found if path is not None), None)


def selection_of(spec: Source) -> Selection:
    if spec.kind != "llamacpp":
        return Selection(spec.kind)
    return Selection(spec.kind, spec.file, spec.projector)


def _readable_manifest(folder: Path) -> WeightsManifest | None:
    try:
        return read_manifest(folder)
    except BadManifest:
        return None
