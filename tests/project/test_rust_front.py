"""vLLM's Rust front as a side of the bench: out of a wheel, once; a line where it cannot be had."""

import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks import rust_front
from benchmarks.processes import DidNotStart
from benchmarks.rust_front import NoRustFront
from benchmarks.servers import RUST, serving


def wheel(folder: Path, member: str) -> Path:
    path = folder / "vllm-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(member, "#!/bin/sh\necho front\n")
    return path


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each download; a wheel with the front in it."""
    made: list[str] = []

    def download(version: str, folder: Path) -> Path:
        made.append(version)
        return wheel(folder, rust_front.MEMBER)

    monkeypatch.setattr(rust_front, "_download", download)
    return made


def test_the_front_is_unpacked_once_and_can_be_run(tmp_path: Path, downloads: list[str]) -> None:
    first, second = rust_front.rust_front(tmp_path), rust_front.rust_front(tmp_path)
    assert first == second
    assert first.stat().st_mode & 0o111
    assert len(downloads) == 1
    assert [path.name for path in tmp_path.iterdir()] == [first.name]  # the wheel is not kept


def test_a_wheel_without_a_front_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rust_front, "_download", lambda _, there: wheel(there, "vllm/other"))
    with pytest.raises(NoRustFront, match="has no vllm/vllm-rs"):
        rust_front.rust_front(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_an_index_the_side_is_a_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = tmp_path / "python"
    refuses.write_text("#!/bin/sh\necho looking >&2\necho 'ERROR: no index' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(refuses))
    model = None  # is not come to
    words = r"vllm .* cannot be downloaded: ERROR: no index"
    refused = pytest.raises(DidNotStart, match=words)
    with refused, serving(RUST, model, tmp_path / "data"):  # type: ignore[arg-type]
        pass
