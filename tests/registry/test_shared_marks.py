"""Aliases of one engine share the marks between which it counts what is thought."""

from pathlib import Path

from engines.registry.registry import load_registry

MODELS = """
currency: NOK
models:
  plain: {source: org/weights, engine: vllm, context: 4K, output: 1K}
  thinks:
    source: org/weights
    engine: vllm
    context: 4K
    output: 1K
    reasoning: {opened_by: model, start: <t>, end: </t>}
    also: {llamacpp: {}}
  other: {source: org/other, engine: vllm, context: 4K, output: 1K}
"""


def test_one_that_thinks_and_one_that_does_not_share_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(MODELS)
    registry = load_registry(path)
    plain, thinks, other = (registry.models[a].engine for a in ("plain", "thinks", "other"))
    assert plain == thinks
    assert plain.key == thinks.key != other.key
    assert plain.thinking == ("<t>", "</t>")
    assert other.thinking is None
    assert registry.other_engines["llamacpp"]["thinks"].thinking is None
