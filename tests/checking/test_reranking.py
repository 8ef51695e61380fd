"""What `fjord check` says of the score that a reranker needs."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.checked_models import changed, checked, smollm2, tiny
from tests.support.tiny_rerankers import make_cross_encoder, make_generative, make_gguf

QWEN3: dict[str, Any] = {"classifier_from_token": ["no", "yes"]}


def score_of(folder: Path, **args: Any) -> tuple[str, str]:
    found: tuple[str, str] = checked(folder, task="rerank", args=args)["config.score"]
    return found


def test_rerankers_have_one_score(tmp_path: Path) -> None:
    assert score_of(make_cross_encoder(tmp_path / "a"))[0] == "ok"
    assert score_of(make_generative(tmp_path / "b")) == (
        "ok",
        'its score is "yes" against "no", as Qwen3-Reranker is trained',
    )
    assert score_of(tiny(tmp_path / "c"), hf_overrides=QWEN3)[0] == "ok"


@pytest.mark.parametrize("labels", [2, 3])
def test_a_classifier_of_several_labels_is_none(tmp_path: Path, labels: int) -> None:
    found = score_of(make_cross_encoder(tmp_path, labels=labels))
    assert found == ("fail", f"{labels} labels; a reranker has one")


def test_transformers_takes_two_labels_where_none_are_named(tmp_path: Path) -> None:
    folder = changed(make_cross_encoder(tmp_path), "config.json", id2label=None)
    assert score_of(folder)[0] == "fail"


def test_a_language_model_needs_to_be_made_one(tmp_path: Path) -> None:
    verdict, text = score_of(tiny(tmp_path))
    assert verdict == "fail"
    assert "hf_overrides" in text


def test_others_are_not_asked_for_it(tmp_path: Path) -> None:
    assert "config.score" not in checked(tiny(tmp_path), task="embed")


def test_a_gguf_has_a_classifier(tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path)
    assert checked(make_gguf(folder, tmp_path / "m.gguf"), task="rerank")["config.score"][0] == "ok"
    found = checked(smollm2(), task="rerank")["config.score"]
    assert found == ("fail", "it has no classifier (cls), which makes a reranker's score")
