"""The registry: strict, exact, and every profile of the shipped one loads."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

from engines.base import Reasoning
from engines.registry.parsers import REASONING_PARSERS, TOOL_PARSERS
from engines.registry.registry import (
    RegistryError,
    default_profile,
    load_registry,
    parse_engine_args,
    registry_from_sources,
)
from engines.registry.spec import Price
from engines.registry.vllm_names import vllm_reasoning_parser_names, vllm_tool_parser_names
from tests.support.registries import GOOD, SHIPPED, load

DOCUMENTED = {  # alias: context, output; K tokens, of the contract
    "mixtral-8x7b": (32, 4),
    "qwen3-80b-instruct": (32, 4),
    "qwen3-80b-thinking": (32, 4),
    "qwen3-235b-thinking": (32, 4),
    "qwen3-235b-instruct": (32, 4),
    "deepseek-v3": (64, 8),
    "deepseek-r1": (64, 8),
    "llama-3.1-405b": (128, 8),
    "kimi-k2": (200, 8),
    "qwen3-coder-480b": (32, 4),
    "qwen3-vl-8b": (32, 4),
    "llamaguard-4": (8, 1),
}


@pytest.mark.parametrize("profile", ["cuda", "small", "embedded"])
def test_the_shipped_registry_has_every_documented_alias_in_every_profile(profile: str) -> None:
    registry = load_registry(SHIPPED, profile)
    assert set(DOCUMENTED) <= set(registry.models)
    assert registry.profiles == ("cuda", "small", "embedded")
    for model in registry.models.values():
        assert model.price.input > 0
        if model.engine.task == "generate":
            assert model.output_tokens <= DOCUMENTED[model.alias][1] * 1024


def test_the_cuda_profile_has_the_documented_limits() -> None:
    models = load_registry(SHIPPED, "cuda").models
    limits = {a: (m.context_tokens, m.output_tokens) for a, m in models.items()}
    assert limits == {a: (c * 1024, o * 1024) for a, (c, o) in DOCUMENTED.items()}


def test_code_that_comes_with_weights_is_of_one_commit() -> None:
    engines = [model.engine for model in load_registry(SHIPPED, "cuda").models.values()]
    trusted = [engine for engine in engines if engine.args.get("trust_remote_code")]
    assert [engine.source for engine in trusted] == ["moonshotai/Kimi-K2-Instruct-0905"]
    assert all(re.fullmatch("[0-9a-f]{40}", engine.revision or "") for engine in trusted)


def test_the_time_that_a_start_may_take_is_the_models(tmp_path: Path) -> None:
    text = GOOD.replace("    output: 4K\n", "    output: 4K\n    start_timeout: 1800\n")
    assert load(tmp_path, text).models["one"].start_timeout_s == 1800
    assert load(tmp_path, GOOD).models["one"].start_timeout_s is None
    with pytest.raises(RegistryError, match="'start_timeout': 0 is wrong"):
        load(tmp_path, text.replace("1800", "0"))


def test_thinking_aliases_split_their_reasoning() -> None:
    models = load_registry(SHIPPED, "cuda").models
    thinking = {alias for alias, model in models.items() if model.reasoning}
    assert thinking == {"qwen3-80b-thinking", "qwen3-235b-thinking", "deepseek-r1"}


@pytest.mark.parametrize("profile", ["cuda", "small"])
def test_parser_names_of_the_shipped_registry_are_vllms(profile: str) -> None:
    tools, reasoning = vllm_tool_parser_names(), vllm_reasoning_parser_names()
    for model in load_registry(SHIPPED, profile).models.values():
        assert model.tool_parser in (None, "none", *tools)
        assert model.engine.args.get("reasoning_parser", "qwen3") in reasoning


def test_the_shipped_parser_names_are_those_of_the_installed_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    assert vllm_tool_parser_names() == TOOL_PARSERS
    assert vllm_reasoning_parser_names() == REASONING_PARSERS


def test_the_embedded_aliases_share_one_engine_on_either_engine() -> None:
    registry = load_registry(SHIPPED, "embedded")
    for kind in ("llamacpp", "vllm"):
        chosen = registry.with_engine(kind)
        specs = [chosen.models[alias].engine for alias in DOCUMENTED]
        assert {spec.kind for spec in specs} == {kind}
        assert len({spec.key for spec in specs}) == 1
        assert all(spec == specs[0] for spec in specs)


def test_thinking_and_instruct_share_the_small_hybrid() -> None:
    models = load_registry(SHIPPED, "small").models
    quick, thorough = models["qwen3-235b-instruct"], models["qwen3-235b-thinking"]
    assert quick.engine == thorough.engine
    assert quick.chat_template_kwargs == {"enable_thinking": False}
    assert thorough.chat_template_kwargs == {"enable_thinking": True}
    assert quick.price != thorough.price


def test_an_engine_that_no_model_has_is_named_with_those_there_are() -> None:
    with pytest.raises(RegistryError, match=r"did you mean 'llamacpp'.*llamacpp, vllm"):
        load_registry(SHIPPED, "embedded").with_engine("llamacp")


def test_a_model_without_the_engine_stays_on_its_own(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    output: 4K\n",
        "    output: 4K\n    also: {scripted: {}}\n"
        "  two: {source: owner/two, context: 1K, output: 1K}\n",
    )
    kinds = [m.engine.kind for m in load(tmp_path, text).with_engine("scripted").models.values()]
    assert kinds == ["scripted", "vllm"]


def test_a_price_in_another_currency_is_rounded_once_to_a_micro_unit(tmp_path: Path) -> None:
    price = "price: {input: '2.50', cached_input: '0.000005', output: '7'}"
    text = "rates: {EUR: '0.087412'}\n" + GOOD.replace("output: 4K", f"output: 4K\n    {price}")
    registry = load(tmp_path, text)
    ours = registry.models["one"].price
    assert registry.price_in("NOK", ours) == ours
    assert registry.price_in("EUR", ours) == Price(input=218_530, cached_input=0, output=611_884)
    assert registry.price_in("SEK", ours) is None
    assert registry.price_in("SEK", Price()) == Price()


@pytest.mark.parametrize(
    ("written", "micro"),
    [("'2.50'", 2_500_000), ("'0.1'", 100_000), ("'0.000001'", 1), ("3", 3_000_000), ("'0'", 0)],
)
def test_prices_are_exact_micro_units(tmp_path: Path, written: str, micro: int) -> None:
    text = GOOD.replace("output: 4K", f"output: 4K\n    price: {{input: {written}, output: '7'}}")
    price = load(tmp_path, text).models["one"].price
    assert price == Price(input=micro, cached_input=micro, output=7_000_000)


OVERLAID = """\
models:
  one:
    source: owner/big
    revision: abc
    args: {max_model_len: 65536}
    reasoning: {opened_by: template, start: <a>, end: </a>, budgets: {none: 0, low: 1K}, most: 2K}
    tool_parser: hermes
    chat_template_kwargs: {a: 1}
    free_chat_template_kwargs: [a]
    context: 64K
    output: 8K
    price: {input: "1", output: "2"}
    system_prompt: Be brief.
    defaults: {temperature: 0.2}
profiles:
  same: {}
  other: {all: {source: owner/small, context: 8K}}
  both:
    all: {output: 1K, preload: true}
    models: {one: {output: 2K, tool_parser: null}, two: {source: owner/two, context: 4K}}
"""


def test_another_source_forgets_what_spoke_of_the_former_weights(tmp_path: Path) -> None:
    model = load(tmp_path, OVERLAID, "other").models["one"]
    assert (model.engine.source, model.engine.revision, model.engine.args) == (
        "owner/small",
        None,
        {},
    )
    assert (model.reasoning, model.tool_parser, model.chat_template_kwargs) == (None, None, {})
    assert model.free_chat_template_kwargs == ()
    own = load(tmp_path, OVERLAID, "same").models["one"]
    assert own.free_chat_template_kwargs == ("a",)
    assert (model.context_tokens, model.output_tokens) == (8192, 8192)
    assert (model.system_prompt, model.defaults) == ("Be brief.", {"temperature": 0.2})
    assert model.price.output == 2_000_000


def test_the_last_word_counts_key_by_key(tmp_path: Path) -> None:
    models = load(tmp_path, OVERLAID, "both").models
    assert list(models) == ["one", "two"]
    one, two = models["one"], models["two"]
    assert (one.output_tokens, one.tool_parser, one.preload) == (2048, None, True)
    assert one.reasoning == Reasoning(start="<a>", end="</a>", opened_by="template")
    assert one.thought_bounds.named == {"none": 0, "low": 1024, "most": 2048}
    assert (two.engine.source, two.output_tokens, two.preload) == ("owner/two", 1024, True)


def test_a_relative_source_is_seen_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "models" / "mine").mkdir(parents=True)
    for source in ("./models/mine", "models/mine"):
        spec = load(tmp_path, GOOD.replace("owner/name", source)).models["one"].engine
        assert spec.source == str(tmp_path / "models" / "mine")


def test_an_optional_model_is_left_out_where_its_package_is_not_installed(tmp_path: Path) -> None:
    entry = "  two: {source: 'package:PACKAGE', optional: true, context: 1K, output: 1K}\n"
    text = GOOD.replace("profiles:", entry + "profiles:")
    assert list(load(tmp_path, text.replace("PACKAGE", "no-such-thing")).models) == ["one"]
    assert list(load(tmp_path, text.replace("PACKAGE", "pytest")).models) == ["one", "two"]


def test_own_models_need_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"max_position_embeddings": 2048}')
    (tmp_path / "m.gguf").touch()
    registry = registry_from_sources(
        [("a", "mine"), ("b", "m.gguf"), ("c", "owner/name"), ("d", "owner/name:x.gguf")],
        {},
        base=tmp_path,
    )
    a, b, c, d = registry.models.values()
    assert (a.engine.kind, a.engine.source, a.context_tokens) == ("vllm", str(folder), 2048)
    assert (b.engine.kind, b.engine.source) == ("llamacpp", str(tmp_path / "m.gguf"))
    assert (c.engine.kind, c.engine.source) == ("vllm", "owner/name")
    assert (d.engine.kind, d.engine.source, d.engine.file) == ("llamacpp", "owner/name", "x.gguf")
    assert all(model.preload for model in registry.models.values())


def test_an_engine_argument_bounds_an_own_models_context() -> None:
    args = parse_engine_args(["max_model_len=4096", "enforce_eager=true", "limit={image: 0}"])
    assert args == {"max_model_len": 4096, "enforce_eager": True, "limit": {"image": 0}}
    del args["limit"]
    model = registry_from_sources([("a", "owner/name")], args).models["a"]
    assert (model.context_tokens, model.output_tokens) == (4096, 4096)
    assert model.engine.args == args


@pytest.mark.parametrize(
    ("script", "profile"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", "cuda"),
        ("echo 'No devices were found'; exit 6", "embedded"),
        ("exit 9", "embedded"),
        (None, "embedded"),
    ],
)
def test_the_default_profile_follows_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, profile: str
) -> None:
    if script is not None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + "/nowhere")
    assert default_profile(["small", "embedded", "cuda"]) == profile


@pytest.mark.parametrize(
    ("profiles", "without_gpu", "with_gpu"),
    [
        (["cuda", "laptop", "other"], "laptop", "cuda"),
        (["laptop", "other"], "laptop", "laptop"),
        (["cuda"], "cuda", "cuda"),
        ([], None, None),
    ],
)
def test_a_file_without_the_usual_profiles_has_a_default_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    profiles: list[str],
    without_gpu: str | None,
    with_gpu: str | None,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert default_profile(profiles) == without_gpu
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200'\n")
    tool.chmod(0o755)
    assert default_profile(profiles) == with_gpu


def test_a_file_without_profiles_is_served_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GOOD.split("profiles:")[0])
    registry = load_registry(path)
    assert list(registry.models) == ["one"]
    assert registry.profiles == ()
