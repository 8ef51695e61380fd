"""Whether a model has the one score that a reranker is asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from engines.checking.findings import Finding, bounded, fail, ok

_ID = "config.score"


def reranking_findings(config: Mapping[str, Any], args: Mapping[str, Any]) -> Iterator[Finding]:
    """Of a config.json. `args`: the engine's own arguments, from the registry."""
    given = args.get("hf_overrides")
    overrides = given if isinstance(given, dict) else {}
    if overrides.get("classifier_from_token"):
        yield ok(_ID, "its score is between the tokens that hf_overrides name")
        return
    config = {**config, **overrides}
    named = config.get("architectures")
    name = str(named[0]) if isinstance(named, list) and named else ""
    if name == "Qwen3ForCausalLM":
        yield ok(_ID, 'its score is "yes" against "no", as Qwen3-Reranker is trained')
    elif "ForSequenceClassification" in name:
        yield _labelled(config)
    else:
        shown = bounded(name, 60) or "it"
        yield fail(_ID, f"{shown} makes no score: args lack hf_overrides that make it a reranker")


def _labelled(config: Mapping[str, Any]) -> Finding:
    """transformers takes two labels for none named."""
    names = config.get("id2label")
    labels = len(names) if isinstance(names, dict) else config.get("num_labels", 2)
    if labels == 1:
        return ok(_ID, "one label, which is the score")
    return fail(_ID, f"{bounded(str(labels), 20)} labels; a reranker has one")


def gguf_score_finding(config: Mapping[str, Any]) -> Finding:
    """Of what engines/checking/gguf_model.py read."""
    if config.get("has_classifier"):
        return ok(_ID, "a classifier makes its score")
    return fail(_ID, "it has no classifier (cls), which makes a reranker's score")
