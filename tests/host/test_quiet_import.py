"""A large library's first import keeps the interpreter for as little as can be."""

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.host.quiet_import import link_shared, without_collections
from tests.support.paths import ROOT

LINKS = """
import os, sys
from engines.host.quiet_import import link_shared
link_shared("xllamacpp", [("xllamacpp.abi3.so", os.RTLD_LOCAL)])
maps = open("/proc/self/maps").read()
print("xllamacpp.abi3.so" in maps, "xllamacpp" in sys.modules)
"""


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_within_it_nothing_is_collected_and_afterwards_no_part_of_it_is_walked() -> None:
    gc.unfreeze()
    with without_collections():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(made)
    assert not any(each is made for each in gc.get_objects())


def test_what_was_off_stays_off_and_a_failure_turns_it_on_again() -> None:
    with pytest.raises(ImportError), without_collections():
        raise ImportError
    assert gc.isenabled()
    with without_collections(), without_collections():
        pass
    assert gc.isenabled()
    gc.disable()
    with without_collections():
        pass
    assert not gc.isenabled()


def test_a_shared_object_is_linked_and_nothing_is_imported() -> None:
    child = [sys.executable, "-c", LINKS]
    said = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False"]


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
