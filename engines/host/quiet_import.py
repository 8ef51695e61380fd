"""The first import of a large library beside running streams: Python's interpreter is kept, and
with it every stream of every model, for as little as can be."""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engines.host.garbage import made_to_stay


@contextmanager
def without_collections(module: str) -> Iterator[None]:
    """For the first import of `module`; nothing where that was. What it makes stays, and is walked
    by no collection from now on. Each full one would walk all of it, and keep the interpreter:
    0.2 s for the 600,000 objects of vLLM and torch, and six times while they are imported."""
    if module in sys.modules:
        yield
        return
    with made_to_stay():
        yield


def link_shared(
    module: str, objects: Sequence[tuple[str, int]], *, unless: str | None = None
) -> None:
    """Link a package's shared objects (path within it, dlopen's flags) before its import does,
    without keeping the interpreter: 0.15 s for torch. Where one is not there or does not link, it
    and those behind it are left to the import, which says why; all of them where the package has
    the file `unless`."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return
    if unless is not None and (Path(found.origin).parent / unless).exists():
        return
    link = ctypes.CDLL(None).dlopen  # a foreign call lets others have the interpreter
    link.restype, link.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, flags in objects:
        path = Path(found.origin).parent / name
        if not path.exists() or not link(os.fsencode(path), os.RTLD_NOW | flags):
            return
