"""What is told of a config: what vLLM knows, what it dropped, code that a model brings."""

import importlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

import pytest

from engines.checking.config import config_findings, gguf_config_findings
from engines.checking.model_files import ModelFiles
from engines.checking.remote_code import remote_code_findings
from engines.planning.shipped import shipped_config
from engines.registry import vllm_models
from engines.registry.registry import load_registry
from engines.registry.vllm_models import (
    deprecated_quantisations,
    dropped_architectures,
    is_known_model_type,
    is_known_tokenizer,
    vllm_architectures,
    vllm_quantisations,
)
from engines.vllm.environment import set_environment
from tests.support.checked_models import by_id
from tests.support.paths import ROOT

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}
SHIPPED = load_registry(ROOT / "model_registry.yaml", "cuda").models
with_vllm = pytest.mark.skipif(not vllm_architectures(), reason="vLLM is not installed")


def found(config: Mapping[str, Any], context: int | None = None, **args: Any) -> Any:
    return by_id(list(config_findings({**LLAMA, **config}, args, context)))


@with_vllm
def test_an_ordinary_model_is_known() -> None:
    told = found({})
    assert {verdict for verdict, _ in told.values()} == {"ok"}
    assert told["config.architecture"][1].startswith("LlamaForCausalLM, known to vLLM ")
    assert told["config.context"][1] == "a context of 8,192 tokens"
    assert told["config.dtype"][1] == "computes in bfloat16"
    assert told["config.quantisation"][1] == "not quantised"


@with_vllm
def test_an_architecture_that_vllm_dropped_says_when() -> None:
    name, last = next((n, v) for n, v in dropped_architectures().items() if "/" not in v)
    verdict, text = found({"architectures": [name]})["config.architecture"]
    assert verdict == "fail"
    assert f"{name} was dropped after vLLM {last}" in text


@with_vllm
@pytest.mark.parametrize(
    ("config", "verdict", "words"),
    [
        ({"architectures": ["NobodyForCausalLM"]}, "fail", "knows no such architecture"),
        (
            {"architectures": ["NobodyForCausalLM"], "auto_map": {"AutoConfig": "a.B"}},
            "note",
            "code of the model's own",
        ),
        ({"architectures": []}, "fail", "names no architecture"),
        ({"architectures": 5}, "fail", "names no architecture"),
        ({"architectures": [None]}, "fail", "names no architecture"),
    ],
)
def test_an_architecture_that_is_unknown(
    config: Mapping[str, Any], verdict: str, words: str
) -> None:
    told = found(config)["config.architecture"]
    assert told[0] == verdict
    assert words in told[1]


@with_vllm
@pytest.mark.parametrize(
    ("stored", "args", "verdict"),
    [
        ({"quant_method": "fp8"}, {}, "ok"),
        ({"quant_method": "compressed_tensors"}, {}, "ok"),
        (None, {"quantization": "fp8"}, "ok"),
        ({"quant_method": "of_nobody"}, {}, "fail"),
        (None, {"quantization": "of_nobody"}, "fail"),
        ({"bits": 4}, {}, "note"),
    ],
)
def test_a_quantisation_is_held_against_vllms(stored: object, args: Any, verdict: str) -> None:
    assert found({"quantization_config": stored}, **args)["config.quantisation"][0] == verdict


@with_vllm
def test_a_deprecated_quantisation_must_be_allowed() -> None:
    stored = {"quantization_config": {"quant_method": min(deprecated_quantisations())}}
    verdict, text = found(stored)["config.quantisation"]
    assert verdict == "fail"
    assert text.endswith("args lack allow_deprecated_quantization: true")
    allowed = found(stored, allow_deprecated_quantization=True)["config.quantisation"]
    assert allowed[0] == "note"
    assert allowed[1].endswith("has deprecated")
    assert deprecated_quantisations() <= vllm_quantisations()


@with_vllm
@pytest.mark.parametrize("alias", SHIPPED)
def test_vllm_takes_every_shipped_alias_as_its_entry_has_it(alias: str) -> None:
    engine = SHIPPED[alias].engine
    shipped = shipped_config(engine.source)
    assert shipped is not None
    told = by_id(list(config_findings(shipped, engine.args, engine.args["max_model_len"])))
    assert {id: text for id, (verdict, text) in told.items() if verdict == "fail"} == {}
    assert engine.args.get("trust_remote_code", False) == (alias == "kimi-k2")
    is_commit = re.fullmatch("[0-9a-f]{40}", engine.revision or "") is not None
    assert is_commit >= engine.args.get("trust_remote_code", False)


@pytest.mark.parametrize(
    ("asked", "scaling", "verdict"),
    [
        (8191, None, "ok"),
        (8192, None, "ok"),
        (8193, None, "fail"),
        (8193, {"rope_type": "yarn", "factor": 4.0}, "note"),
        (8193, {"rope_theta": 10000}, "fail"),
    ],
)
def test_a_registry_that_asks_for_more_context_than_there_is(
    asked: int, scaling: object, verdict: str
) -> None:
    assert found({"rope_scaling": scaling}, asked)["config.context"][0] == verdict


def test_an_argument_that_asks_for_more_context_than_there_is() -> None:
    assert found({}, 4096, max_model_len=8192)["config.context"][0] == "ok"
    assert found({}, 4096, max_model_len=8193)["config.context"][0] == "fail"
    assert found({}, 4096, max_model_len="auto")["config.context"][0] == "ok"


def test_the_text_part_of_a_model_that_sees_is_read() -> None:
    config = {"max_position_embeddings": None, "text_config": {"max_position_embeddings": 512}}
    assert found(config)["config.context"][1] == "a context of 512 tokens"


@pytest.mark.parametrize(("form", "verdict"), [(15, "ok"), (4, "fail"), (None, "ok"), ("x", "ok")])
def test_a_gguf_of_a_form_that_is_read_no_longer(form: object, verdict: str) -> None:
    config = {"architectures": ["llama"], "max_position_embeddings": 4096, "file_type": form}
    told = by_id(list(gguf_config_findings(config, 8192)))
    assert told["config.quantisation"][0] == verdict
    assert told["config.context"][0] == "note"  # llama.cpp starts all the same


CODE = {"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "o/n--modeling_x.X"}}
UNKNOWN = {**CODE, "model_type": "of_nobody", "architectures": ["NobodyForCausalLM"]}
OWN_TOKENIZER = {
    "auto_map": {"AutoTokenizer": ["tokenization_x.T", None]},
    "tokenizer_class": "TikTokenTokenizer",
}


@pytest.mark.skipif(is_known_model_type("llama") is None, reason="neither library is installed")
@pytest.mark.parametrize(
    ("config", "tokenizer", "trusts", "verdict", "words"),
    [
        ({}, {}, False, "ok", "brings no code"),
        ({}, {}, True, "note", "brings no code"),
        (CODE, {}, False, "ok", "(configuration_x.py, modeling_x.py); not needed"),
        (CODE, {}, True, "note", "vLLM does not need it"),
        (UNKNOWN, {}, False, "fail", "args lack trust_remote_code: true"),
        (UNKNOWN, {}, True, "ok", "trust_remote_code runs it"),
        ({"model_type": ""}, OWN_TOKENIZER, False, "fail", "(tokenization_x.py): needed"),
        ({}, {**OWN_TOKENIZER, "tokenizer_class": "Qwen2TokenizerFast"}, False, "ok", "not needed"),
        ({"model_type": "qwen2"}, OWN_TOKENIZER, False, "ok", "not needed"),
        ({"model_type": "kimi_k2"}, OWN_TOKENIZER, False, "fail", "needed, and args lack"),
        ({"auto_map": 5}, {}, False, "ok", "brings no code"),
    ],
)
def test_code_that_a_model_brings(
    config: Any, tokenizer: Any, trusts: bool, verdict: str, words: str
) -> None:
    files = ModelFiles(kind="folder", config={**LLAMA, **config}, tokenizer_config=tokenizer)
    args = {"trust_remote_code": True} if trusts else {}
    [told] = remote_code_findings(files, args)
    assert told.verdict == verdict
    assert words in told.text


def test_without_the_libraries_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", nothing)
    caches = [each for each in vars(vllm_models).values() if hasattr(each, "cache_clear")]
    for each in caches:
        each.cache_clear()
    try:
        told = found({"quantization_config": {"quant_method": "fp8"}})
        assert told["config.architecture"][0] == told["config.quantisation"][0] == "note"
        assert "vLLM is not installed here" in told["config.architecture"][1]
        assert is_known_tokenizer("LlamaTokenizer") is None
        [code] = remote_code_findings(ModelFiles(kind="folder", config={**LLAMA, **CODE}), {})
        assert code.verdict == "note"
    finally:
        for each in caches:
            each.cache_clear()


@with_vllm
@pytest.mark.vllm
@pytest.mark.slow
def test_what_is_read_from_vllms_source_is_what_it_says_itself() -> None:
    set_environment()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        registry = importlib.import_module("vllm.model_executor.models.registry").ModelRegistry
        methods = importlib.import_module("vllm.model_executor.layers.quantization")
    assert sorted(registry.get_supported_archs()) == sorted(vllm_architectures())
    assert sorted(methods.QUANTIZATION_METHODS) == sorted(vllm_quantisations())
