"""What is found about an adapter."""

from pathlib import Path

import pytest

from engines.base import Adapter
from engines.checking.adapter import adapter_findings
from engines.registry.spec import EngineSpec, ModelSpec
from tests.support.adapters import adapter_folder

LORA = {"enable_lora": True, "max_lora_rank": 8}


def findings(folder: Path, source: str = "owner/tiny") -> list[tuple[str, str]]:
    spec = ModelSpec(
        alias="a",
        engine=EngineSpec(kind="vllm", source=source, args=LORA),
        adapter=Adapter(name="a", path=str(folder)),
        context_tokens=1024,
        output_tokens=1024,
    )
    return [(found.id, found.verdict) for found in adapter_findings(spec)]


@pytest.mark.parametrize(
    ("rank", "source", "expected"),
    [
        (8, "owner/tiny", [("adapter.rank", "ok")]),
        (8, "owner/other", [("adapter.rank", "ok"), ("adapter.base", "note")]),
        (16, "/srv/tiny", [("adapter.rank", "fail")]),
    ],
)
def test_an_adapter_is_held_against_its_base(
    tmp_path: Path, rank: int, source: str, expected: list[tuple[str, str]]
) -> None:
    assert findings(adapter_folder(tmp_path / "a", rank=rank), source) == expected


def test_files_that_are_gone(tmp_path: Path) -> None:
    assert findings(tmp_path / "none") == [("adapter.files", "fail")]
