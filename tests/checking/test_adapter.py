"""What is found about an adapter."""

from pathlib import Path

import pytest

from engines.base import Adapter
from engines.checking.adapter import adapter_findings
from engines.registry.spec import EngineSpec, ModelSpec
from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_folder
from tests.support.lora_ggufs import lora_gguf, tiny_gguf

LORA = {"enable_lora": True, "max_lora_rank": 8}


def findings(
    folder: Path, source: str = "owner/tiny", base: Path | None = None
) -> list[tuple[str, str]]:
    spec = ModelSpec(
        alias="a",
        engine=EngineSpec(kind="vllm", source=source, args=LORA),
        adapter=Adapter(name="a", path=str(folder)),
        context_tokens=1024,
        output_tokens=1024,
    )
    found = adapter_findings(spec, base, folder.parent)
    return [(each.id, each.verdict) for each in found]


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


def test_an_adapter_of_another_model_s_shapes(tmp_path: Path) -> None:
    folder, base = adapter_folder(tmp_path / "a"), make_llama(tmp_path / "tiny")
    assert findings(folder, base=base) == [("adapter.rank", "ok")]
    wider = adapter_folder(tmp_path / "b", hidden=128)
    assert findings(wider, base=base) == [("adapter.rank", "ok"), ("adapter.shapes", "fail")]


def test_an_adapter_of_the_hub_that_is_not_here_is_not_fetched(tmp_path: Path) -> None:
    spec = ModelSpec(
        alias="a",
        engine=EngineSpec(kind="vllm", source="owner/tiny", args=LORA),
        adapter=Adapter(name="owner/lora@main", source="owner/lora"),
        context_tokens=1024,
        output_tokens=1024,
    )
    [found] = adapter_findings(spec, None, tmp_path)
    assert (found.id, found.verdict) == ("adapter.here", "note")
    assert "`fjord weights pull a` fetches it" in found.text


def test_an_adapter_for_llama_cpp(tmp_path: Path) -> None:
    base = tiny_gguf(make_llama(tmp_path / "tiny"), tmp_path / "base.gguf")
    folder = adapter_folder(tmp_path / "a")
    file = lora_gguf(folder, tmp_path / "lora.gguf")
    wrong = lora_gguf(folder, tmp_path / "wrong.gguf", "qwen3")
    for adapter, weights, found in (
        (folder, base, "ok"),
        (file, base, "ok"),
        (file, None, "note"),
        (wrong, base, "fail"),
        (adapter_folder(tmp_path / "b", layers=3), base, "fail"),
        (tmp_path / "gone", base, "fail"),
    ):
        spec = ModelSpec(
            alias="a",
            engine=EngineSpec(kind="llamacpp", source=str(base)),
            adapter=Adapter(name="a", path=str(adapter)),
            context_tokens=1024,
            output_tokens=1024,
        )
        [one] = adapter_findings(spec, weights, tmp_path)
        assert one.verdict == found, one
        assert str(tmp_path) not in one.text
