"""A bundle's bill of materials names each wheel with version, hash and licence."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from engines.bundle.contents import ModelWeights
from engines.bundle.sbom import sbom_piece
from engines.bundle.wheels import wheel_set
from engines.registry.spec import EngineSpec

METADATA = """\
Metadata-Version: 2.4
Name: Some.Package
Version: 1.2
License-Expression: MIT OR Apache-2.0

A description.
"""


def wheel(folder: Path) -> Path:
    path = folder / "some_package-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("some_package-1.2.dist-info/METADATA", METADATA)
        file.writestr("some_package/vendored.dist-info/METADATA", "Name: other")
    return path


def test_a_wheel_and_a_model_are_components_with_what_is_known_of_them(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "m.gguf").touch()
    spec = EngineSpec(kind="llamacpp", source=str(tmp_path / "m.gguf"))
    models = [ModelWeights(spec, tmp_path / "m.gguf")]
    piece = sbom_piece("0.1", models, {path: digest}, "2026-11-27T00:00:00+00:00")
    assert isinstance(piece.content, bytes)
    sbom = json.loads(piece.content)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(piece.content.decode()) is None
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    assert sbom["metadata"]["component"]["name"] == "fjord-server"
    by_name = {each["name"]: each for each in sbom["components"]}
    package = by_name["Some.Package"]
    assert (package["version"], package["purl"]) == ("1.2", "pkg:pypi/some-package@1.2")
    assert package["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert package["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert by_name["m.gguf"]["type"] == "machine-learning-model"
    assert str(tmp_path) not in piece.content.decode()
    again = sbom_piece("0.1", models, {path: digest}, "2026-11-27T00:00:00+00:00")
    assert again.content == piece.content


@pytest.mark.parametrize(
    ("kinds", "has_gpu", "chosen"),
    [
        (["llamacpp"], True, "laptop"),
        (["llamacpp", "vllm"], False, "cpu"),
        (["vllm"], True, "cuda"),
        ([], False, "laptop"),
    ],
)
def test_the_wheels_are_those_of_the_engines(kinds: list[str], has_gpu: bool, chosen: str) -> None:
    assert wheel_set(kinds, has_gpu) == chosen
