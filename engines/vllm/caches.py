"""Where vLLM keeps what it compiles: a folder of a bounded size that the next start finds again."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from engines.vllm.environment import variable_set

FOLDER = "compiled"
"""In the data directory. Whoever deletes it has the next start compile anew."""
MOST_BYTES = 8 * 2**30
PLACES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
}
"""By default vLLM's and Triton's are in the user's home, which a container forgets, inductor's in
/tmp."""
_BY_MODEL = ("vllm/torch_compile_cache/torch_aot_compile", "vllm/torch_compile_cache")
"""Folders with a folder for each model with its settings."""


@contextlib.contextmanager
def compiled_in(data_dir: Path | None) -> Iterator[None]:
    """For an engine that starts inside the block; what the operator has set stays. None: where
    vLLM has them by itself."""
    if data_dir is None:
        yield
        return
    folder = data_dir.resolve() / FOLDER
    with contextlib.suppress(OSError):  # a disk that is full or not to be written can be read
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        drop_oldest(folder)
    with contextlib.ExitStack() as stack:
        for name, place in PLACES.items():
            stack.enter_context(variable_set(name, str(folder / place)))
        yield


def drop_oldest(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """A model's at a time, what was not used for longest first; all, where what is no model's is
    too large alone. Raises OSError."""
    total = _bytes(folder)
    if total <= most_bytes:
        return
    for model in sorted(_models(folder), key=_used_at):
        total -= _bytes(model)
        shutil.rmtree(model)
        if total <= most_bytes:
            return
    shutil.rmtree(folder)


def _models(folder: Path) -> list[Path]:
    parents = [folder / place for place in _BY_MODEL]
    found = [each for parent in parents if parent.is_dir() for each in parent.iterdir()]
    folders = (each for each in found if each.is_dir() and not each.is_symlink())
    return [each for each in folders if each not in parents]


def _used_at(model: Path) -> float:
    """A start that finds them only reads them; most disks note that once a day at least."""
    stats = [each.stat() for each in model.rglob("*") if each.is_file()]
    return max((max(stat.st_atime, stat.st_mtime) for stat in stats), default=0.0)


def _bytes(folder: Path) -> int:
    return sum(each.lstat().st_size for each in folder.rglob("*") if not each.is_dir())
