"""What `fjord doctor --cluster --json` found."""

from typing import Any, TypeAlias

Found: TypeAlias = dict[tuple[str, str], dict[str, str]]
"""By node and check."""


def found_by(told: dict[str, Any]) -> Found:
    return {(n["node"], c["name"]): c for n in told["nodes"] for c in n["checks"]}


def check_three_are_bad(found: Found) -> None:
    """An older vLLM, a clock that is ahead and a closed port on gpu-2, and nothing else."""
    assert {at for at, each in found.items() if each["state"] == "bad"} == {
        ("gpu-2", "versions"),
        ("gpu-2", "clock"),
        ("gpu-2", "ports"),
    }
    assert found["gpu-2", "versions"]["words"] == "vLLM 0.31.0 instead of 0.32.0 of gpu-1"
    assert found["gpu-2", "clock"]["words"] == "40 s ahead of gpu-1's"
    assert found["gpu-2", "ports"]["words"] == "gpu-1 -> gpu-2: refused: 29501"
