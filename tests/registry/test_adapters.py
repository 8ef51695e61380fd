"""Entries that lay a LoRA adapter over another entry's weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.registry.changes import registry_change
from engines.registry.registry import RegistryError
from tests.support.adapters import adapter_folder
from tests.support.registries import load

FILE = """\
models:
  base:
    source: owner/model
    args: {{{args}}}
    reasoning: {{opened_by: model}}
    context: 8K
    output: 2K
    price: {{input: "1", output: "2"}}
    replicas: 2
  tuned:
{tuned}
profiles:
  cuda: {{}}
"""
LORA = "max_model_len: 8192, enable_lora: true, max_loras: 2, max_lora_rank: 8"


def loaded(home: Path, tuned: str = "adapter: ./a\nbase: base", args: str = LORA) -> Any:
    indented = "\n".join(f"    {line}" for line in tuned.splitlines())
    return load(home, FILE.format(args=args, tuned=indented), "cuda")


def test_an_adapter_has_its_base_s_engine_limits_and_price(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "a", rank=8)
    base, tuned = loaded(tmp_path).models.values()
    assert tuned.engine == base.engine
    assert tuned.adapter.path == str(tmp_path / "a")
    assert base.adapter is None
    for name in ("context_tokens", "output_tokens", "price", "reasoning", "replicas"):
        assert getattr(tuned, name) == getattr(base, name)
    assert tuned.weights == f"owner/model+{tmp_path / 'a'}"


def test_what_it_says_itself_counts_first(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "a")
    own = 'adapter: a\nbase: base\noutput: 1K\nprice: {input: "5", output: "9"}\nload: start'
    base, tuned = loaded(tmp_path, own).models.values()
    assert (tuned.output_tokens, base.output_tokens) == (1024, 2048)
    assert (tuned.price.output, base.price.output) == (9_000_000, 2_000_000)
    assert (tuned.preload, base.preload) == (True, False)


def test_other_files_in_the_same_folder_are_another_adapter(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "a")
    before = loaded(tmp_path)
    assert not registry_change(before, loaded(tmp_path)).models
    adapter_folder(tmp_path / "a", rank=2)
    [change] = registry_change(before, loaded(tmp_path)).models
    assert (change.alias, change.kind, change.keys) == ("tuned", "changed", ("adapter",))


@pytest.mark.parametrize(
    ("tuned", "said"),
    [
        ("adapter: ./a", "key 'adapter': is laid over nothing"),
        ("adapter: ./a\nbase: bse", "key 'base': 'bse' is no other model"),
        ("adapter: ./a\nbase: tuned", "key 'base': 'tuned' is no other model"),
        ("adapter: ./b\nbase: base", "key 'adapter': './b' is no folder"),
        ("adapter: ./a\nbase: base\nsource: x/y", "key 'source': is the base's"),
        ("adapter: ./a\nbase: base\nargs: {seed: 1}", "key 'args': is the base's"),
        ("adapter: ./a\nbase: base\nreplicas: 2", "key 'replicas': is the base's"),
        ("source: x/y\nbase: base\ncontext: 8K\noutput: 1K", "key 'base': is for an adapter"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, tuned: str, said: str) -> None:
    adapter_folder(tmp_path / "a")
    with pytest.raises(RegistryError, match=said):
        loaded(tmp_path, tuned)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("max_model_len: 8192", "args need enable_lora: true"),
        ("max_model_len: 8192, enable_lora: false", "args need enable_lora: true"),
        ("enable_lora: true, max_lora_rank: 4", "its rank is 8, and args.max_lora_rank is 4"),
    ],
)
def test_an_engine_that_cannot_serve_it(tmp_path: Path, args: str, said: str) -> None:
    adapter_folder(tmp_path / "a", rank=8)
    with pytest.raises(RegistryError, match=f"key 'adapter': {said}"):
        loaded(tmp_path, args=args)


def test_an_engine_holds_so_many(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "a")
    text = FILE.format(args=LORA, tuned="    adapter: ./a\n    base: base")
    text = text.replace(
        "profiles:",
        "".join(f"  {n}:\n    adapter: ./a\n    base: base\n" for n in ("second", "third"))
        + "profiles:",
    )
    said = "'third', key 'adapter': is adapter 3 of 'base', whose engine holds 2; right .*_loras: 3"
    with pytest.raises(RegistryError, match=said):
        load(tmp_path, text, "cuda")
    assert load(tmp_path, text.replace("max_loras: 2", "max_cpu_loras: 3, max_loras: 2"), "cuda")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("nonsense", "is no JSON object"),
        ([], "is no JSON object"),
        ({}, "names no rank"),
        ({"r": 0}, "names no rank"),
        ({"r": True}, "names no rank"),
        ({"r": 8, "rank_pattern": {"q": "8"}}, "names no rank"),
        ({"r": 2, "rank_pattern": {"q_proj": 16}}, "its rank is 16"),
        ({"r": 8, "use_dora": True}, "needs use_dora"),
        ({"r": 8, "bias": "all"}, "needs bias"),
        ({"r": 8, "peft_type": "IA3"}, "is a IA3"),
        ({"r": 8, "modules_to_save": ["lm_head"]}, "needs modules_to_save"),
    ],
)
def test_an_adapter_that_is_none(tmp_path: Path, config: Any, said: str) -> None:
    folder = adapter_folder(tmp_path / "a")
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(RegistryError, match=said):
        loaded(tmp_path)


def test_an_adapter_without_weights(tmp_path: Path) -> None:
    (adapter_folder(tmp_path / "a") / "adapter_model.safetensors").unlink()
    with pytest.raises(RegistryError, match=r"holds no adapter_model\.safetensors"):
        loaded(tmp_path)
