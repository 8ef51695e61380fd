"""What we use beyond a library's documented surface has an upper bound; the locks keep to it."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

BOUNDED = ("fastapi", "httptools", "msgspec", "pydantic", "starlette", "uvicorn")
LOCKS = ("cpu", "cuda", "laptop")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(lines: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def inputs(name: str) -> dict[str, Requirement]:
    """Of requirements/<name>.in, without what it includes."""
    lines = (ROOT / f"requirements/{name}.in").read_text().splitlines()
    return requirements([line for line in lines if line and line[0] not in "#-"])


def locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def is_bounded(requirement: Requirement) -> bool:
    return any(part.operator in ("<", "<=", "==", "~=") for part in requirement.specifier)


@pytest.mark.parametrize("name", BOUNDED)
def test_an_upper_bound_stands_in_the_project_and_keeps_the_locks(name: str) -> None:
    declared = requirements(PROJECT["dependencies"])[name]
    assert is_bounded(declared)
    for lock in LOCKS:
        version = locked(ROOT / f"requirements/{lock}.txt")[name]
        assert declared.specifier.contains(version), f"{lock}.txt has {version}"


@pytest.mark.parametrize("extra", ["cpu", "cuda"])
def test_vllm_has_an_upper_bound(extra: str) -> None:
    lines = PROJECT["optional-dependencies"][extra]
    assert all(is_bounded(r) for name, r in requirements(lines).items() if "vllm" in name)
    for name, requirement in requirements(lines).items():
        if "vllm" in name:
            assert requirement == inputs(extra)[name]


def test_the_project_and_the_locks_inputs_ask_for_the_same() -> None:
    assert requirements(PROJECT["dependencies"]) == inputs("front")
