"""A registry's mistakes: each is named with its place, and with what would be right."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from engines.registry.entries import ModelEntry
from engines.registry.registry import (
    RegistryError,
    load_registry,
    parse_engine_args,
    registry_from_sources,
)
from engines.registry.vllm_names import vllm_argument_names
from tests.support.registries import GOOD, SHIPPED, load

CHANGED = [
    ("context: 32K", "contxt: 32K", r":4: model 'one', key 'contxt': unknown key.*'context'"),
    ("context: 32K", "context: 32k", r":4: model 'one', key 'context': '32k' is wrong.*32K"),
    ("context: 32K", "context: 2147483648", r":4: .*'context': 2147483648 .*most is 2147483647"),
    ("context: 32K", "context: 99999999999999999K", r":4: .*'context': .*most is 2147483647"),
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
    ("models:", "model:", r":1: key 'model': unknown key.*'models'"),
    ("  one:", "  'o ne':", r":2: model 'o ne'.*no possible name"),
    ("p: {}", "p: [", r"r.yaml:\d+: is not YAML"),
    ("  p: {}", "  p: &a {all: *a}", r":7: .*"),
]
ADDED_TO_THE_MODEL = {
    "context: 8K": r":6: key 'context' stands here and on line 4",
    "preload: 'yes'": r":6: .*'preload'.*true or false",
    "engine: vlm": r":6: .*'engine': 'vlm' is wrong",
    "projector: a/b.gguf": r":6: .*'projector': .*right would be the name of a .gguf file",
    **{
        f"replicas: {wrong}": rf":6: model 'one', key 'replicas': .*{wrong}.* is wrong.* 1 to 64"
        for wrong in ("0", "65", "-1", "1.5", "two")
    },
    "replicas: true": r":6: .*'replicas': True is wrong",
    "price: {input: 2.5, output: '1'}": r':6: .*"2.5"',
    "price: {input: '1E+999999', output: '1'}": r":6: .*not a price",
    "price: {input: '1.00000000000000000000000000000000000001', output: '1'}": r":6: .*not a price",
    "price: {input: '1'}": r":6: .*'price.output': is missing",
    "price: {input: '0.0000001', output: 1}": r":6: .*6 places",
    "price: {input: '-1', output: 1}": r":6: .*price.input",
    "price: {input: '1000001', output: 1}": r":6: .*price.input.* at most 1000000",
    "price: {input: nan, output: 1}": r":6: .*price.input",
    "reasoning: {opened_by: me}": r":6: .*reasoning.opened_by",
    **{
        f"reasoning: {{opened_by: model, {bounds}}}": rf":6: model 'one', key 'reasoning.{said}"
        for bounds, said in (
            ("budget: 9K, most: 8K", "budget': 9216 tokens are more than reasoning.most"),
            ("budgets: {high: 9K}, most: 8K", "budgets.high': 9216 tokens are more than"),
            ("budgets: {none: 1}", "budgets.none': 1, and none turns .* right would be 0"),
            ("budgets: {hihg: 9K}", "budgets.hihg"),
            ("budgets: {high: -1}", "budgets.high': -1 is wrong"),
            ("budgets: {high: 2147483648}", "budgets.high': 2147483648 is wrong"),
            ("budgets: {high: 1.5}", "budgets.high': 1.5 is wrong"),
            ("budget: true", "budget': True is wrong"),
            ("most: 0", "most': 0 is wrong"),
        )
    },
    "args:\n      max_model_len: 4096": (
        r":7: model 'one', key 'args.max_model_len': 4096 tokens are fewer than .* 32768"
    ),
    "defaults: {temperatur: 0.2}": r":6: .*'defaults.temperatur': unknown key.*'temperature'",
    "defaults: {temperature: 2.5}": r":6: .*'defaults.temperature': 2.5 is wrong.* 0 to 2",
    "defaults: {top_p: .nan}": r":6: .*'defaults.top_p'.* 0 to 1",
    "defaults: {max_tokens: 0}": r":6: .*'defaults.max_tokens': 0 is wrong.*at least 1",
    "defaults: {max_tokens: true}": r":6: .*'defaults.max_tokens': True is wrong",
    "defaults: {top_k: 1.5}": r":6: .*'defaults.top_k': 1.5 is wrong",
    "defaults: {repetition_penalty: 0}": r":6: .*'defaults.repetition_penalty'.*0.01 to 2",
    "defaults: {seed: 1}": r":6: .*'defaults.seed': unknown key\. Known: temperature",
    "tool_parser: hermse": (
        r":6: model 'one', key 'tool_parser': vLLM has no .*did you mean 'hermes'"
    ),
    "args: {reasoning_parser: qwen}": (
        r":6: model 'one', key 'args.reasoning_parser': vLLM has no .*did you mean 'qwen3'"
    ),
    **{
        f"{key}: {value}": rf":6: model 'one', key '{key}.*': .* is wrong: {said}"
        for key, value, said in (
            ("created", "253402300800", "it must be below 253402300800"),
            ("start_timeout", ".inf", "the most is 31622400"),
            ("start_timeout", ".nan", "the most is 31622400"),
            ("start_timeout", "1.0e+300", "the most is 31622400"),
            ("start_timeout", "0", "it must be above 0"),
            ("keep", ".inf", "it is from 1s to 366d"),
            ("keep", ".nan", "it is from 1s to 366d"),
            ("defaults", "{max_tokens: 2147483648}", "the most is 2147483647"),
            ("dimensions", "[1048577]", "the most is 1048576"),
            ("dimensions", "[64, 0]", "the least is 1"),
            ("dimensions", "[true]", "it is no list of whole numbers"),
            ("dimensions", "all", "it is no list"),
        )
    },
    "engine: llamacpp": r":2: model 'one', key 'args.n_ctx': 8192 tokens are fewer",
    "also: {llamacpp: {args: {n_ctx: 1024}}}": (
        r":6: model 'one', key 'also.llamacpp.args.n_ctx': 1024 tokens"
    ),
}
OVERLAYS = {
    "{all: {tool_parser: lama3_json}}": r":7: .*'all.tool_parser'.*'llama3_json'.*model 'one'",
    "{modles: {}}": r":7: profile 'p', key 'modles': unknown key.*'models'",
    "{all: {outptu: 1K}}": r":7: profile 'p', key 'all.outptu'.*'output'",
    "{models: {one: {args: 3}}}": r":7: profile 'p', model 'one', key 'args': 3",
    "{all: {output: 64K}}": r":7: profile 'p', key 'all.output'.*model 'one'",
    "{models: {new: {context: 1K}}}": r":7: profile 'p', model 'new', key",
}
ADDED_AT_THE_TOP = {
    "rates: {EUR: 0.1}": r":1: key 'rates.EUR': .*in quotes, \"0.1\"",
    "rates: {EUR: '0'}": r":1: key 'rates.EUR': '0' .* above 0",
    "rates: {EUR: '1001'}": r":1: key 'rates.EUR': '1001' .* at most 1000",
    "seller: {name: x, address: y, organisation_number: '1', vat_percent: 25.5}": (
        r":1: key 'seller.vat_percent': .*in quotes, \"25.5\""
    ),
    "seller: {name: x, address: y, organisation_number: '1', vat_percent: '101'}": (
        r":1: key 'seller.vat_percent': '101' .*at most 100; right would be"
    ),
    "seller: {name: x, address: y, organisation_number: '1'}": (
        r":1: key 'seller.vat_percent': is missing"
    ),
    "rates: {EUR: x}": r":1: key 'rates.EUR': 'x' .*not a rate; right",
    "rates: {GBP: '1'}": r":1: key 'rates.GBP': 'GBP' is no .*'NOK'",
    "rates: {NOK: '1'}": r":1: key 'rates.NOK': NOK is the registry's own",
    "currency: KR": r":1: key 'currency': 'KR' is wrong.*NOK",
}
MISTAKES = [
    *CHANGED,
    *(("output: 4K", f"output: 4K\n    {line}", said) for line, said in ADDED_TO_THE_MODEL.items()),
    *(("p: {}", f"p: {overlay}", said) for overlay, said in OVERLAYS.items()),
    *(("models:", f"{line}\nmodels:", said) for line, said in ADDED_AT_THE_TOP.items()),
]


@pytest.mark.parametrize(("find", "put", "said"), MISTAKES)
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


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "---\n", "null\n"])
def test_an_empty_file_is_called_empty(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        RegistryError, match=r"r\.yaml:1: the file: it is empty; right would be models"
    ):
        load(tmp_path, text)


TWO_OF_THE_SHAPE = ("context: 32K", "contxt: 32K"), ("output: 4K", "output: many")
TWO_OF_THE_SENSE = ("owner/name", "nonsense"), ("p: {}", "p: {models: {b: {source: a/b}}}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (TWO_OF_THE_SHAPE, [r":4: .*'contxt': unknown key", r":5: .*'output': 'many' is wrong"]),
        (TWO_OF_THE_SENSE, [r":3: .*'nonsense' is neither", r":7: .*'b', key 'context': is mis"]),
    ],
)
def test_every_mistake_of_a_file_is_told_a_line_each(
    tmp_path: Path, changes: tuple[tuple[str, str], ...], said: list[str]
) -> None:
    text = GOOD
    for find, put in changes:
        text = text.replace(find, put)
    with pytest.raises(RegistryError) as caught:
        load(tmp_path, text)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(said), lines
    for pattern, line in zip(said, lines, strict=True):
        assert re.search(pattern, line), line


def test_one_mistake_over_all_models_is_told_once(tmp_path: Path) -> None:
    text = GOOD.replace("profiles:", "  two: {source: a/b, context: 16K, output: 1K}\nprofiles:")
    with pytest.raises(RegistryError) as caught:
        load(tmp_path, text.replace("p: {}", "p: {all: {output: 64K}}"))
    assert str(caught.value).count("\n") == 0


def test_no_mistake_is_told_in_a_librarys_words(tmp_path: Path) -> None:
    told = []
    for key in ModelEntry.model_fields:
        for value in ("[[]]", "{a: {b: 1}}", "1.5", "true", "''", "null", "-1", "x"):
            text = re.sub(rf"    {key}: .*\n", "", GOOD)
            told += complaints(tmp_path, text.replace("  one:\n", f"  one:\n    {key}: {value}\n"))
    assert len(told) > 100
    words = re.compile("Input should|valid|pydantic|String |Value error|Field required")
    assert [line for line in told if words.search(line)] == []


def complaints(folder: Path, text: str) -> list[str]:
    try:
        load(folder, text)
    except RegistryError as error:
        return str(error).splitlines()
    return []


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {}", r"r\.yaml:1: key 'models': there is no model; right would be an alias"),
        ("currency: NOK\nmodels: {}\nprofiles: {p: {}}", r"r\.yaml:2: key 'models': there is no"),
        (
            "models:\n  a: {source: 'package:none-such', optional: true, context: 1K, output: 1K}",
            r"r\.yaml:1: key 'models': all models are optional, and no package of theirs is",
        ),
    ],
)
def test_a_registry_without_a_model_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    profile = "p" if "profiles" in text else None
    with pytest.raises(RegistryError, match=said):
        load_registry(tmp_path / "r.yaml", profile)


def test_a_file_whose_profile_alone_has_models_is_one(tmp_path: Path) -> None:
    model = "{engine: scripted, source: x, context: 1K, output: 1K}"
    (tmp_path / "r.yaml").write_text(f"models: {{}}\nprofiles: {{p: {{models: {{a: {model}}}}}}}")
    assert list(load_registry(tmp_path / "r.yaml", "p").models) == ["a"]


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


def test_anchors_that_come_to_billions_are_refused_at_once(tmp_path: Path) -> None:
    levels = [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghijkl")]
    text = "\n".join(["a: &a [x, x]", *levels])
    with pytest.raises(RegistryError, match="more than 200000 entries"):
        load(tmp_path, text)


def test_a_file_of_many_megabytes_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="is larger than 2 MiB"):
        load(tmp_path, GOOD + "#" * 3 * 2**20)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12]])
def test_code_of_a_repository_needs_the_commit_it_is_of(tmp_path: Path, revision: str) -> None:
    run = "    source: owner/name\n    args: {trust_remote_code: true}\n"
    text = GOOD.replace("    source: owner/name\n", run)
    with pytest.raises(RegistryError, match=r"'revision': trust_remote_code .*none is named.*40"):
        load(tmp_path, text)
    named = text.replace(run, f"{run}    revision: {revision}\n")
    with pytest.raises(RegistryError, match=rf":5: .*'{revision}' may be other code.*40 digits"):
        load(tmp_path, named)
    load(tmp_path, named.replace(revision, COMMIT))
    load(tmp_path, named.replace("true", "false"))


def test_code_of_ones_own_model_needs_its_commit_too(tmp_path: Path) -> None:
    args = {"trust_remote_code": True}
    for source in ("owner/name", "owner/name@main"):
        with pytest.raises(RegistryError, match=r"right would be owner/name@commit"):
            registry_from_sources([("mine", source)], args, base=tmp_path)
    found = registry_from_sources([("mine", f"owner/name@{COMMIT}")], args, base=tmp_path)
    assert found.models["mine"].engine.revision == COMMIT
    assert found.models["mine"].engine.source == "owner/name"
    found = registry_from_sources([("mine", "owner/name@v1:m-q8.gguf")], {}, base=tmp_path)
    spec = found.models["mine"].engine
    assert (spec.source, spec.revision, spec.file) == ("owner/name", "v1", "m-q8.gguf")
    own = tmp_path / "own"
    own.mkdir()
    registry_from_sources([("mine", str(own))], args, base=tmp_path)
