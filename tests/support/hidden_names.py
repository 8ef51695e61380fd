"""Hides one name of vLLM's from the fast path's code, and from nobody else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.vllm.fastpath.private_names import Owner
from tests.support.engine_core import EngineCore
from tests.support.paths import ROOT

FAST_PATH = ROOT / "engines/vllm/fastpath"


@contextmanager
def hidden(owner: Owner, name: str) -> Iterator[None]:
    """To the fast path's code, objects of this class of vLLM's have no such name."""
    cls = getattr(importlib.import_module(owner[0]), owner[1])
    if owner[1] == "AsyncMPClient":  # in its place
        cls = EngineCore
    read, write = cls.__getattribute__, written_to(cls)

    def check(asked: str) -> None:
        caller = Path(sys._getframe(2).f_code.co_filename)
        if asked == name and caller.parent == FAST_PATH:
            raise AttributeError(f"{cls.__name__} has no {name}")

    def read_checked(self: Any, asked: str) -> Any:
        check(asked)
        return read(self, asked)

    def write_checked(self: Any, asked: str, value: Any) -> None:
        check(asked)
        write(self, asked, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cls, "__getattribute__", read_checked)
        patched.setattr(cls, "__setattr__", write_checked)
        yield


def written_to(cls: type) -> Callable[[Any, str, Any], None]:
    """What sets an attribute of its objects; not a method of its own while that is replaced."""
    if not issubclass(cls, msgspec.Struct):
        return cls.__setattr__

    def write(struct: Any, name: str, value: Any) -> None:
        if name in cls.__struct_fields__:
            getattr(cls, name).__set__(struct, value)
        else:
            struct.__dict__[name] = value

    return write
