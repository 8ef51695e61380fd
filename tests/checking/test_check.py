"""Whole checks of what is sound: the packaged model, tiny ones, aliases, and what is not here."""

from pathlib import Path

import pytest

from benchmarks.tiny_gguf import make_gguf
from engines.checking.check import Subject, check
from engines.checking.folder import read_folder
from engines.gguf import BLOCKS
from engines.planning.cards import parse_cards
from engines.planning.machine import Machine
from engines.registry.registry import load_registry
from tests.support.checked_models import MACHINE, by_id, changed, checked, smollm2, subject, tiny
from tests.support.registries import SHIPPED

TOPICS = ("config", "weights", "template", "stop", "tools", "reasoning", "memory")


def test_the_packaged_model_is_able_to_all(tmp_path: Path) -> None:
    found = check(subject(smollm2()), MACHINE, tmp_path)
    told = by_id(found)
    assert {each.topic for each in found} == set(TOPICS)
    assert {each.id for each in found if each.verdict != "ok"} == {"tools.parser"}
    assert told["config.quantisation"][1] == "weights in Q4_1"
    assert told["stop.turn"][1] == "the template ends a turn with <|im_end|>"
    assert told["memory.need"][1] == "96.6 MB of weights, 22.5 KiB of KV cache a token"
    assert told["memory.fits"][1].endswith("16 GB of memory, 1 stream at 8,192 tokens")


def test_an_alias_of_the_registry_has_its_entrys_word(tmp_path: Path) -> None:
    entry = load_registry(SHIPPED, "embedded").models["deepseek-r1"]
    told = by_id(check(Subject(spec=entry.engine, entry=entry, shown="r1"), MACHINE, tmp_path))
    assert {verdict for verdict, _ in told.values()} <= {"ok", "note"}
    assert told["config.context"][0] == "ok"


@pytest.mark.slow  # the package gguf reads a vocabulary
def test_a_gguf_of_seeded_weights(tmp_path: Path) -> None:
    told = checked(make_gguf(smollm2(), tmp_path / "m.gguf"))
    assert told["config.context"][1] == "a context of 65,536 tokens"
    assert {verdict for verdict, _ in told.values()} == {"ok", "note"}


def test_a_tiny_folder(tmp_path: Path) -> None:
    told = checked(tiny(tmp_path))
    assert [id for id, (verdict, _) in told.items() if verdict == "fail"] == []
    assert told["weights.whole"][1] == "1 file, 0.2 MB"


def test_a_model_that_makes_vectors_needs_no_template(tmp_path: Path) -> None:
    told = checked(
        changed(tiny(tmp_path), "tokenizer_config.json", chat_template=None), task="embed"
    )
    assert not any(id.startswith(("template", "stop", "tools", "reasoning")) for id in told)
    bert = checked(tiny(tmp_path, model_type="bert"))
    assert not any(id.startswith("template") for id in bert)


def test_sizes_of_blocks_are_ggmls() -> None:
    gguf = pytest.importorskip("gguf.constants")
    known = {int(kind): tuple(size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: size for kind, size in BLOCKS.items() if known.get(kind, size) != size} == {}


def test_arguments_that_say_where_else_to_look(tmp_path: Path) -> None:
    model = tiny(tmp_path, eos_token_id=258)
    assert checked(model)["stop.tokens"][0] == "note"
    alone = checked(model, args={"generation_config": "vllm"})
    assert "generation_config.json" not in alone["stop.tokens"][1]
    dashed = checked(model, args={"generation-config": "vllm", "trust-remote-code": True})
    assert dashed["stop.tokens"] == alone["stop.tokens"]
    assert dashed["config.remote_code"][0] == "note"
    told = checked(model, args={"tokenizer": "owner/name"})
    assert told["tokenizer.elsewhere"][0] == "note"
    assert not any(id.startswith(("template", "stop")) for id in told)


def test_templates_with_names_lie_in_a_folder(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    (model / "chat_template.jinja").write_text("default")
    assert read_folder(model).template == "default"
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates/tool_use.jinja").write_text("tools")
    files = read_folder(model)
    assert (files.template_for(False), files.template_for(True)) == ("default", "tools")


def test_a_tokenizer_of_mistral_needs_no_template(tmp_path: Path) -> None:
    model = changed(tiny(tmp_path), "tokenizer_config.json", chat_template=None)
    (model / "tekken.json").write_text("{}")
    assert checked(model)["template.mistral"][0] == "note"


@pytest.mark.parametrize(
    ("alias", "cards", "fits", "would"),
    [("mixtral-8x7b", "2x80", "ok", False), ("kimi-k2", "8x80", "fail", True)],
)
def test_what_is_not_here_is_told_by_shipped_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alias: str, cards: str, fits: str, would: bool
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    entry = load_registry(SHIPPED, "cuda").models[alias]
    machine = Machine(cards=parse_cards(cards))
    found = check(Subject(spec=entry.engine, entry=entry, shown=alias), machine, tmp_path)
    told = by_id(found)
    assert told["weights.here"][0] == "note"
    assert f"`fjord prepare {alias}` fetches it" in told["weights.here"][1]
    assert told["memory.fits"][0] == fits
    assert ("memory.would_fit" in told) == would
