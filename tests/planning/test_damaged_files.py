"""A folder whose files are damaged is not known, and ends no plan and no start."""

from pathlib import Path

import pytest

from engines.planning.config import facts_of
from engines.planning.facts import FactsUnknown
from engines.planning.stored import facts_of_path
from engines.registry.sources import UNKNOWN_CONTEXT, longest_context
from engines.testing.tiny import make_llama

CONFIGS = ("[1]", "5", "null", '"text"', '{"text_config": [1]}', "{", "[" * 100_000)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda text: text[:20])
def test_a_config_of_another_form_is_not_known(tmp_path: Path, config: str) -> None:
    folder = make_llama(tmp_path / "m")
    (folder / "config.json").write_text(config)
    with pytest.raises(FactsUnknown):
        facts_of_path(folder)
    assert longest_context(str(folder), {}) == UNKNOWN_CONTEXT


@pytest.mark.parametrize("trained", ['"many"', "[1]", "-5", "null"])
def test_a_context_that_is_no_number_is_not_known(tmp_path: Path, trained: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"max_position_embeddings": {trained}}}')
    assert longest_context(str(tmp_path), {}) == UNKNOWN_CONTEXT


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"abc", "is cut short"), (b"\x02\0\0\0\0\0\0\0[]", "cannot be read")],
)
def test_weights_of_another_form_are_not_known(tmp_path: Path, content: bytes, why: str) -> None:
    folder = make_llama(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(FactsUnknown, match=why):
        facts_of_path(folder)


def test_an_inner_config_of_another_form_is_not_known() -> None:
    with pytest.raises(FactsUnknown, match="does not say its sizes"):
        facts_of("m", {"text_config": [1]}, {"BF16": 1}, 2)
