"""Registries for tests: the shipped one, a small good one, and any text loaded."""

from pathlib import Path

from engines.registry.registry import Registry, load_registry
from tests.support.paths import ROOT

SHIPPED = ROOT / "model_registry.yaml"
GOOD = """\
models:
  one:
    source: owner/name
    context: 32K
    output: 4K
profiles:
  p: {}
"""


def load(folder: Path, text: str, profile: str = "p") -> Registry:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registry(path, profile)
