"""`benchmarks.gpu_check`: rehearsed here; on a card each phase is a test."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_check as check
from benchmarks.gpu.adapters import nearest
from benchmarks.machine import gpus
from tests.support.long_command import called


def gpu_check(folder: Path, *asked: str, **environment: str) -> dict[str, Any]:
    """Each phase's state and what it noted."""
    folders = ("--out", str(folder), "--name", "gpu", "--data", str(folder))
    done = called("benchmarks.gpu_check", *asked, *folders, limit_s=400, **environment)
    phases: dict[str, Any] = json.loads((folder / "gpu.json").read_text())["phases"]
    bad = [name for name, found in phases.items() if found["state"] not in ("passed", "skipped")]
    assert bool(done.returncode) == bool(bad), f"{phases}\n{done.stdout}"
    return phases


def test_a_phase_without_a_card_is_skipped_and_says_what_would_be_right(tmp_path: Path) -> None:
    phases = gpu_check(tmp_path, "--without", "bench,contract", PATH=str(tmp_path))
    assert {phase["state"] for phase in phases.values()} == {"skipped"}
    assert len(phases) == len(check.NAMES) - 2
    assert all("needs a CUDA device" in phase["reason"] for phase in phases.values())
    assert all("--rehearse" in phase["reason"] for phase in phases.values())


@pytest.mark.vllm
@pytest.mark.slow
def test_a_phase_is_rehearsed_on_a_cpu_and_leaves_its_figures(tmp_path: Path) -> None:
    """The shortest one; `--rehearse` has all of them."""
    [found] = gpu_check(tmp_path, "--rehearse", "--only", "adapters").values()
    assert found["state"] == "passed", found
    assert (found["asked_at_once"], found["mixed_up"]) == (12, 0)
    assert found["steps"][0]["used_mib"] > 0


def test_a_mixed_up_adapter_is_told_from_one_that_rounds_otherwise() -> None:
    alone = ["red boats", "grey sky", "green hills"]
    assert [nearest(told, alone) for told in (*alone, "red birds", "grey bay", "green")] == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]


def test_a_phase_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    """An engine of a folder that cannot be made."""
    (tmp_path / "wide-tiny").write_text("not a folder")
    phases = gpu_check(tmp_path, "--rehearse", "--only", "memory,swaps")
    assert {found["state"] for found in phases.values()} == {"failed"}
    assert all("log_end" in found for found in phases.values())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("phase", [n for n in check.NAMES if n not in ("contract", "bench")])
def test_a_card_holds_what_is_promised(phase: str, tmp_path: Path) -> None:
    if not gpus():
        pytest.skip("needs a CUDA device, and nvidia-smi names none")
    [found] = gpu_check(tmp_path, "--only", phase).values()
    assert found["state"] in ("passed", "skipped"), found
