"""The registry: strict, exact, and every profile of the shipped one loads."""

import os
import re
from pathlib import Path

import pytest

from engines.base import Reasoning
from engines.registry import (
    Registry,
    RegistryError,
    default_profile,
    load_registry,
    parse_engine_args,
    registry_from_sources,
)
from engines.spec import Price
from engines.vllm_names import (
    vllm_argument_names,
    vllm_reasoning_parser_names,
    vllm_tool_parser_names,
)

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "model_registry.yaml"
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
GOOD = """\
models:
  one:
    source: owner/name
    context: 32K
    output: 4K
profiles:
  p: {}
"""


def load(folder: Path, text: str, profile: str = "p") -> Registry:
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registry(path, profile)


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


def test_thinking_aliases_split_their_reasoning() -> None:
    models = load_registry(SHIPPED, "cuda").models
    thinking = {alias for alias, model in models.items() if model.reasoning}
    assert thinking == {"qwen3-80b-thinking", "qwen3-235b-thinking", "deepseek-r1"}


@pytest.mark.parametrize("profile", ["cuda", "small"])
def test_parser_names_of_the_shipped_registry_are_vllms(profile: str) -> None:
    tools, reasoning = vllm_tool_parser_names(), vllm_reasoning_parser_names()
    if not tools:
        pytest.skip("vLLM is not installed")
    for model in load_registry(SHIPPED, profile).models.values():
        assert model.tool_parser is None or model.tool_parser in tools
        assert model.engine.args.get("reasoning_parser", "qwen3") in reasoning


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


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ("context: 32K", "contxt: 32K", r":4: model 'one', key 'contxt': unknown key.*'context'"),
        ("context: 32K", "context: 32k", r":4: model 'one', key 'context': '32k' is wrong.*32K"),
        ("context: 32K", "context: 0", r":4: .*'context': 0 is wrong"),
        ("context: 32K", "context: true", r":4: .*'context': True is wrong"),
        ("    context: 32K\n", "", r":2: model 'one', key 'context': is missing"),
        ("    output: 4K\n", "", r":2: model 'one', key 'output': is missing"),
        ("output: 4K", "output: 64K", r":5: .*'output': 65536 tokens are more than .* 32768"),
        ("    source: owner/name\n", "", r":2: model 'one', key 'source': is missing.*owner/name"),
        ("owner/name", "nonsense", r":3: .*'source': 'nonsense' is neither a path"),
        ("owner/name", "./weights.gguf", r":3: .*GGUF; it needs engine: llamacpp"),
        ("owner/name", "'package:'", r":3: .*names no package"),
        ("owner/name", "[a]", r":3: .*'source': \['a'\] is wrong.*hub id"),
        (
            "output: 4K",
            "output: 4K\n    context: 8K",
            r":6: key 'context' stands here and on line 4",
        ),
        ("output: 4K", "output: 4K\n    preload: 'yes'", r":6: .*'preload'.*true or false"),
        ("output: 4K", "output: 4K\n    engine: vlm", r":6: .*'engine': 'vlm' is wrong"),
        ("output: 4K", "output: 4K\n    price: {input: 2.5, output: '1'}", r':6: .*"2.5"'),
        ("output: 4K", "output: 4K\n    price: {input: '1'}", r":6: .*'price.output': is missing"),
        ("output: 4K", "output: 4K\n    price: {input: '0.0000001', output: 1}", r":6: .*6 places"),
        ("output: 4K", "output: 4K\n    price: {input: '-1', output: 1}", r":6: .*price.input"),
        ("output: 4K", "output: 4K\n    price: {input: nan, output: 1}", r":6: .*price.input"),
        ("output: 4K", "output: 4K\n    reasoning: {opened_by: me}", r":6: .*reasoning.opened_by"),
        (
            "output: 4K",
            "output: 4K\n    args:\n      max_model_len: 4096",
            r":7: model 'one', key 'args.max_model_len': 4096 tokens are fewer than .* 32768",
        ),
        (
            "output: 4K",
            "output: 4K\n    engine: llamacpp",
            r":2: model 'one', key 'args.n_ctx': 8192 tokens are fewer",
        ),
        (
            "output: 4K",
            "output: 4K\n    also: {llamacpp: {args: {n_ctx: 1024}}}",
            r":6: model 'one', key 'also.llamacpp.args.n_ctx': 1024 tokens",
        ),
        ("p: {}", "p: {modles: {}}", r":7: profile 'p', key 'modles': unknown key.*'models'"),
        ("p: {}", "p: {all: {outptu: 1K}}", r":7: profile 'p', key 'all.outptu'.*'output'"),
        ("p: {}", "p: {models: {one: {args: 3}}}", r":7: profile 'p', model 'one', key 'args': 3"),
        ("p: {}", "p: {all: {output: 64K}}", r":7: profile 'p', key 'all.output'.*model 'one'"),
        ("p: {}", "p: {models: {new: {context: 1K}}}", r":7: profile 'p', model 'new', key"),
        ("models:", "rates: {EUR: 0.1}\nmodels:", r":1: key 'rates.EUR': .*in quotes, \"0.1\""),
        ("models:", "rates: {EUR: '0'}\nmodels:", r":1: key 'rates.EUR': '0' .* above 0"),
        ("models:", "rates: {EUR: x}\nmodels:", r":1: key 'rates.EUR': 'x' .*not a rate; right"),
        ("models:", "rates: {GBP: '1'}\nmodels:", r":1: key 'rates.GBP': 'GBP' is no .*'NOK'"),
        (
            "models:",
            "rates: {NOK: '1'}\nmodels:",
            r":1: key 'rates.NOK': NOK is the registry's own",
        ),
        ("models:", "currency: KR\nmodels:", r":1: key 'currency': 'KR' is wrong.*NOK"),
        ("models:", "model:", r":1: key 'model': unknown key.*'models'"),
        ("  one:", "  'o ne':", r":2: model 'o ne'.*no possible name"),
        ("p: {}", "p: [", r"r.yaml:\d+: is not YAML"),
        ("  p: {}", "  p: &a {all: *a}", r":7: .*"),
    ],
)
def test_a_mistake_is_named_with_line_model_key_and_what_is_right(
    tmp_path: Path, find: str, put: str, said: str
) -> None:
    assert find in GOOD
    load(tmp_path, GOOD)
    with pytest.raises(RegistryError) as caught:
        load(tmp_path, GOOD.replace(find, put, 1))
    message = str(caught.value)
    assert re.search(said, message), message
    assert message.startswith(f"{tmp_path / 'r.yaml'}:")
    assert "\n" not in message


def test_an_argument_that_vllm_lacks_is_named(tmp_path: Path) -> None:
    if not vllm_argument_names():
        pytest.skip("vLLM is not installed")
    text = GOOD.replace("output: 4K", "output: 4K\n    args: {tensor_paralel_size: 2}")
    with pytest.raises(RegistryError, match=r":6: .*did you mean 'tensor_parallel_size'"):
        load(tmp_path, text)


@pytest.mark.parametrize("text", ["", "[]", "x", "models: 3", "models: {a: 1}\nprofiles: {p: {}}"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RegistryError, match=r"r\.yaml"):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"none\.yaml: cannot be read: No such file"):
        load_registry(tmp_path / "none.yaml", "p")
    with pytest.raises(RegistryError, match="cannot be read"):
        load_registry(tmp_path, "p")
    (tmp_path / "latin.yaml").write_bytes(b"# \xe5\nmodels: {}")
    with pytest.raises(RegistryError, match="not UTF-8"):
        load_registry(tmp_path / "latin.yaml", "p")


def test_an_unknown_profile_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"unknown profile 'cdua'; did you mean 'cuda'.*small"):
        load_registry(SHIPPED, "cdua")


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
    reasoning: {opened_by: template, start: <a>, end: </a>}
    tool_parser: hermes
    chat_template_kwargs: {a: 1}
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
    assert (model.context_tokens, model.output_tokens) == (8192, 8192)
    assert (model.system_prompt, model.defaults) == ("Be brief.", {"temperature": 0.2})
    assert model.price.output == 2_000_000


def test_the_last_word_counts_key_by_key(tmp_path: Path) -> None:
    models = load(tmp_path, OVERLAID, "both").models
    assert list(models) == ["one", "two"]
    one, two = models["one"], models["two"]
    assert (one.output_tokens, one.tool_parser, one.preload) == (2048, None, True)
    assert one.reasoning == Reasoning(start="<a>", end="</a>", opened_by="template")
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
    ("sources", "said"),
    [
        ([("a", "./none")], "--model a=./none: .*none is not there"),
        ([("a", "none")], "neither a path"),
        ([("a b", "owner/name")], "'a b' is no possible name"),
        ([("a", "owner/x"), ("a", "owner/y")], "given twice"),
    ],
)
def test_a_wrong_own_model_is_refused(
    tmp_path: Path, sources: list[tuple[str, str]], said: str
) -> None:
    with pytest.raises(RegistryError, match=said):
        registry_from_sources(sources, {}, base=tmp_path)


@pytest.mark.parametrize("pair", ["max_model_len", "=3", "a=[1"])
def test_a_wrong_engine_argument_is_refused(pair: str) -> None:
    with pytest.raises(RegistryError, match="--engine-arg"):
        parse_engine_args([pair])


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
    assert default_profile() == profile


def examples() -> list[str]:
    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(4))
def test_every_example_of_the_documentation_loads(tmp_path: Path, number: int) -> None:
    assert len(examples()) == 4
    text = examples()[number]
    profiles = re.findall(r"^  (\w+):", text.partition("profiles:")[2], re.MULTILINE)
    assert profiles
    for profile in profiles:
        assert load(tmp_path, text, profile).models


def test_the_documentation_has_every_key() -> None:
    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    from engines.registry_file import ModelEntry, RegistryFile

    for key in (*ModelEntry.model_fields, *RegistryFile.model_fields):
        assert f"| `{key}` |" in text


def test_the_documentation_says_what_another_source_forgets() -> None:
    from engines.overlay import OF_THE_WEIGHTS

    text = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    told = text.partition("**Naming a `source` starts afresh**")[2].partition(")")[0]
    assert set(re.findall(r"`(\w+)`", told)) == OF_THE_WEIGHTS
