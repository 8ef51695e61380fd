"""What is given as a bundle and is no file is said so, and is never waited for."""

import os
from pathlib import Path

import pytest

from engines.bundle.errors import BundleError
from engines.bundle.parts import PartsReader


def test_a_folder_a_pipe_and_a_device_are_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BundleError, match=f"^{path} is no file$"):
            PartsReader([path])


def test_what_is_gone_when_its_turn_comes_is_named(tmp_path: Path) -> None:
    parts = [tmp_path / "b.001", tmp_path / "b.002"]
    for part in parts:
        part.write_bytes(b"1234")
    with PartsReader(parts) as reader:
        assert reader.read(3) == b"123"
        parts[1].unlink()
        with pytest.raises(BundleError, match=r"b\.002 cannot be read: No such file"):
            reader.read(4)
