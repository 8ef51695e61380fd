"""docs/registry.md: its examples load, and it has every key."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.registries import load

DOCUMENTED = {  # alias: context, output; K tokens, of the contract
    "mixtral-8x7b": (32, 4),
    "qwen3-80b-instruct": (32, 4),
    "qwen3-80b-thinking": (32, 4),
    "qwen3-235b-thinking": (32, 4),
    "qwen3-235b-instruct": (32, 4),
    "deepseek-v3": (64, 8),
    "deepseek-r1": (64, 8),
    "llama-3.1-405b": (128, 8),
    "kimi-k2": (200, 8),
    "qwen3-coder-480b": (32, 4),
    "qwen3-vl-8b": (32, 4),
    "llamaguard-4": (8, 1),
}


def examples() -> list[str]:
    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(9))
def test_every_example_of_the_documentation_loads(tmp_path: Path, number: int) -> None:
    assert len(examples()) == 9
    text = examples()[number]
    profiles = re.findall(r"^  (\w+):", text.partition("profiles:")[2], re.MULTILINE)
    assert profiles
    for profile in profiles:
        assert load(tmp_path, text, profile).models


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    from engines.registry.entries import ModelEntry, RegistryFile

    for key in (*ModelEntry.model_fields, *RegistryFile.model_fields):
        assert f"| `{key}` |" in text


def test_the_documentation_says_what_another_source_forgets() -> None:
    from engines.registry.profile import OF_THE_WEIGHTS

    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    told = text.partition("**Naming a `source` starts afresh**")[2].partition(")")[0]
    assert set(re.findall(r"`(\w+)`", told)) == OF_THE_WEIGHTS
