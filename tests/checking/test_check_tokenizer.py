"""Checks of a tokenizer: loaded as transformers does; a model's own code is read and never run."""

from pathlib import Path

import pytest

from engines.checking.code_imports import missing_imports
from engines.checking.tokenizer import tokenizer_findings
from tests.support.alias_models import make_model
from tests.support.checked_models import changed, tiny


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
