"""Checks of folders and GGUFs with something broken in each: told in a line, without a path."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.checking.check import Subject, check
from engines.checking.weights import INDEX, weights_findings
from engines.registry.spec import EngineSpec
from tests.support.checked_models import MACHINE, by_id, checked, smollm2, subject, tiny


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def with_text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "id", "words"),
    [
        (without("config.json"), "config.json", "no config.json here"),
        (with_text("config.json", "{"), "config.json", "config.json cannot be read: "),
        (with_text("config.json", "[1]"), "config.json", "it is no object"),
        (with_text("config.json", "[" * 100_000), "config.json", "recursion"),
        (without("tokenizer.json"), "tokenizer.files", "no tokenizer here"),
        (with_text("tokenizer.json", "{}"), "tokenizer.vocabulary", "holds no vocabulary"),
        (with_text("tokenizer.json", "{"), "tokenizer.json", "cannot be read"),
        (with_text("tokenizer_config.json", "{}"), "template", "there is no chat template"),
        (with_text("tokenizer_config.json", "nul"), "tokenizer.config", "cannot be read"),
        (with_text("chat_template.jinja", "{% if"), "template", "refuses every chat: line 1"),
        (with_text("generation_config.json", "nul"), "stop.generation_config", "cannot be read"),
        (without("model.safetensors"), "weights.whole", "no weights here"),
        (with_text("model.safetensors", ""), "weights.whole", "model.safetensors is empty"),
        (with_text("model.safetensors", "abc" * 9), "weights.whole", "or cut short"),
        (with_text(INDEX, "{"), "weights.whole", "index.json cannot be read"),
        (with_text(INDEX, '{"weight_map": {"a": "x"}}'), "weights.whole", "1 of 1 files"),
    ],
)
def test_what_is_damaged_is_told_in_a_line_without_a_path(
    tmp_path: Path, damage: Callable[[Path], object], id: str, words: str
) -> None:
    model = tiny(tmp_path)
    damage(model)
    told = checked(model)
    assert told[id][0] == "fail"
    assert words in told[id][1]
    assert not any(str(tmp_path) in text or "\n" in text for _, text in told.values())


def test_a_long_path_is_not_told_in_part(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 40) / "deep"
    deep.mkdir(parents=True)
    spec = EngineSpec(kind="llamacpp", source=str(deep))
    told = by_id(check(Subject(spec=spec, shown="./model"), MACHINE, tmp_path))
    words = "./model holds no *.gguf; right would be file: with one name"
    assert told == {"weights.here": ("fail", words)}
    (model := tiny(deep)).joinpath("model.safetensors").write_bytes(b"")
    assert checked(model)["memory.fits"] == (
        "note",
        "not known: ./model cannot be read: model.safetensors is empty",
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"GGML....", "does not begin with GGUF"),
        (b"GGUF\3\0\0\0", "no readable"),
    ],
)
def test_a_damaged_gguf_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    told = checked(tmp_path / "m.gguf")
    assert [*told] == ["config.gguf"]
    assert told["config.gguf"][0] == "fail"
    assert words in told["config.gguf"][1]
    assert str(tmp_path) not in told["config.gguf"][1]


def test_weights_that_are_cut_short_say_by_how_much(tmp_path: Path) -> None:
    file = tiny(tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    [told] = weights_findings(file.parent)
    expected = f"model.safetensors is cut short: {len(whole) - 1:,} of {len(whole):,} bytes"
    assert (told.verdict, told.text) == ("fail", expected)
    shutil.move(file, file.with_suffix(".bin"))
    [told] = weights_findings(file.parent)
    assert told.verdict == "note"


@pytest.mark.parametrize("left_out", [1, 90_000_000])
def test_a_gguf_that_is_cut_short_says_so(tmp_path: Path, left_out: int) -> None:
    whole = smollm2().stat().st_size
    with smollm2().open("rb") as source, (tmp_path / "m.gguf").open("wb") as file:
        file.write(source.read(whole - left_out))
    told = checked(tmp_path / "m.gguf")["weights.whole"]
    assert told == ("fail", f"m.gguf is cut short: {whole - left_out:,} of {whole:,} bytes")


def test_a_gguf_in_parts_misses_some(tmp_path: Path) -> None:
    first = tmp_path / "m-00001-of-00003.gguf"
    first.symlink_to(smollm2())
    (tmp_path / "m-00003-of-00003.gguf").write_bytes(b"")
    [told] = weights_findings(first)
    assert (told.verdict, told.text) == ("fail", "1 of 3 parts are missing")


def test_all_that_is_damaged_at_once_has_ids_of_its_own(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    names = ("tokenizer", "tokenizer_config", "special_tokens_map", "generation_config")
    for name in (*names, "chat_template"):
        (model / f"{name}.json").write_text("{")
    (model / "other.safetensors").write_bytes(b"")
    found = check(subject(model), MACHINE, tmp_path, loads_tokenizer=False)
    assert len({each.id for each in found}) == len(found)
    assert sum("cannot be read" in each.text for each in found) >= 5


def test_a_folder_that_is_not_there_or_holds_two_ggufs(tmp_path: Path) -> None:
    told = checked(tmp_path / "nothing.gguf")
    assert told == {
        "weights.here": ("fail", "./model is not there; source would be a folder or a file")
    }
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    spec = EngineSpec(kind="llamacpp", source=str(tmp_path))
    told = by_id(check(Subject(spec=spec, shown="./model"), MACHINE, tmp_path))
    words = "./model holds a.gguf, b.gguf; right would be file: with one name"
    assert told == {"weights.here": ("fail", words)}
