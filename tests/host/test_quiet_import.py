"""A large library's first import keeps the interpreter for as little as can be."""

import ctypes
import gc
import importlib.util
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.host.quiet_import import link_shared, without_collections
from engines.vllm.start import TORCH
from tests.support.paths import ROOT

LINKS = """
import os, sys, threading
from engines.host.quiet_import import link_shared
counted = 0
def count():
    global counted
    while True:
        counted += 1
threading.Thread(target=count, daemon=True).start()
before = counted
link_shared("xllamacpp", [("xllamacpp.abi3.so", os.RTLD_LOCAL)])
meanwhile = counted - before
maps = open("/proc/self/maps").read()
print("xllamacpp.abi3.so" in maps, "xllamacpp" in sys.modules, meanwhile)
"""


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_within_it_nothing_is_collected_and_afterwards_no_part_of_it_is_walked() -> None:
    gc.unfreeze()
    with without_collections("not_imported"):
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(made)
    assert not any(each is made for each in gc.get_objects())


def test_what_was_off_stays_off_and_a_failure_turns_it_on_again() -> None:
    with pytest.raises(ImportError), without_collections("not_imported"):
        raise ImportError
    assert gc.isenabled()
    with without_collections("not_imported"), without_collections("not_imported"):
        pass
    assert gc.isenabled()
    gc.disable()
    with without_collections("not_imported"):
        pass
    assert not gc.isenabled()


def test_a_shared_object_is_linked_while_others_have_the_interpreter() -> None:
    child = [sys.executable, "-c", LINKS]
    said = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=True)
    is_linked, is_imported, meanwhile = said.stdout.split()
    assert (is_linked, is_imported) == ("True", "False")
    assert int(meanwhile) > 10_000


@pytest.mark.vllm
def test_torch_has_what_is_linked_before_it_is_imported() -> None:
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    assert all((Path(torch.origin).parent / name).is_file() for name, _ in TORCH)


def test_what_was_imported_before_changes_nothing() -> None:
    gc.unfreeze()
    with without_collections("gc"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_what_is_garbage_before_is_gone() -> None:
    class Knot:
        def __init__(self) -> None:
            self.me = self

    gone = weakref.ref(Knot())
    with without_collections("not_imported"):
        assert gone() is None


def test_a_package_with_a_certain_file_is_left_to_its_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "for_cuda"
    package.mkdir()
    for name in ("__init__.py", "cuda.so", "a.so"):
        (package / name).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    linked: list[bytes] = []

    def dlopen(path: bytes, flags: int) -> int:
        linked.append(path)
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(dlopen=dlopen))
    link_shared("for_cuda", [("a.so", os.RTLD_LOCAL)], unless="cuda.so")
    assert linked == []
    link_shared("for_cuda", [("a.so", os.RTLD_LOCAL)], unless="other.so")
    assert linked == [os.fsencode(package / "a.so")]


def test_what_is_not_there_or_does_not_link_is_left_to_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "half_installed"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "broken.so").write_bytes(b"no library")
    monkeypatch.syspath_prepend(str(tmp_path))
    link_shared("nobody_has_this", [("x.so", os.RTLD_LOCAL)])
    link_shared("half_installed", [("gone.so", os.RTLD_LOCAL), ("broken.so", os.RTLD_LOCAL)])
    link_shared("half_installed", [("broken.so", os.RTLD_LOCAL)])
    shutil.rmtree(package)
