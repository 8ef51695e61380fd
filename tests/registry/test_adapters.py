"""Entries that lay a LoRA adapter over another entry's weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from engines.base import Adapter
from engines.registry.changes import registry_change
from engines.registry.registry import RegistryError, load_registry
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
        ("adapter: o/a\nbase: base\nrevision: v1", "is the base's; right would be adapter_rev"),
        ("adapter: ./a\nbase: base\nadapter_revision: v1", "which has no adapter_revision"),
        ("source: x/y\nadapter_revision: v1\ncontext: 8K\noutput: 1K", "is for an adapter"),
        ("adapter: lora\nbase: base", "'lora' is no folder; right would be one that holds"),
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


def test_a_rank_pattern_is_looked_up_for_no_longer_than_a_second(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a", layers=600)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["rank_pattern"] = {f"layers.{n}.self_attn.z_proj": 4 for n in range(2000)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(RegistryError, match="its rank_pattern has too many keys"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("nonsense", "is no JSON object"),
        ([], "is no JSON object"),
        ({}, "names no rank"),
        ({"r": 0}, "names no rank"),
        ({"r": True}, "names no rank"),
        ({"r": 8, "rank_pattern": {"q": "8"}}, "names no rank"),
        ({"r": 2}, "says rank 2, and the tensors of 'model.layers.0.self_attn.q_proj' have 4"),
        ({"r": 4, "rank_pattern": {"q_proj": 16}}, "says rank 16, and the tensors of"),
        ({"r": 4, "rank_pattern": {"(.*)*$": 16}}, "is no module's name"),
        ({"r": 4, "rank_pattern": {"q_proj\\": 16}}, "is no module's name"),
        ({"r": 4, "init_lora_weights": "pissa_niter_4"}, "needs init_lora_weights"),
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


def test_a_config_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    (folder / "adapter_config.json").write_bytes(b" " * (1 << 20) + b"{}")
    with pytest.raises(RegistryError, match="has over 1048576 bytes"):
        loaded(tmp_path)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


A, B = ({"dtype": "BF16", "shape": [4, 1], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [1, 4], "data_offsets": [8, 16]})  # fmt: skip


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"nonsense", "is no safetensors file"),
        ((33 << 20).to_bytes(8, "little"), "is no safetensors file"),
        (header(), "has no LoRA's tensors"),
        (header(**{"model.q.weight": A}), "the file is cut short, or damaged"),
        (header(**{"model.q.weight": A}) + bytes(16), "'model.q.weight' is no LoRA's tensor"),
        (header(**{"q.lora_A.weight": A}) + bytes(16), "lora_A and lora_B, and not both"),
        (header(**{"q.lora_A.weight": A, "q.lora_B.weight": A}) + bytes(16), "do not meet"),
        (header(**{"q.lora_A.weight": {**A, "dtype": "I8"}}) + bytes(16), "is of I8; right"),
        (header(**{"q.lora_A.weight": {**A, "shape": [4, -1]}}), "has no possible shape"),
        (header(**{"q.lora_A.weight": []}), "cannot be read"),
        (header(**{"q.lora_A.weight": {**A, "data_offsets": [0, 2**70]}}), "is cut short"),
        (b"\x80\x84\x1e\0\0\0\0\0" + b"[" * 2_000_000, "cannot be read"),
    ],
)  # fmt: skip
def test_weights_that_are_no_lora_s(tmp_path: Path, content: bytes, said: str) -> None:
    (adapter_folder(tmp_path / "a") / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(RegistryError, match=said) as refused:
        loaded(tmp_path)
    assert len(str(refused.value)) < 500


def test_ranks_by_the_module_s_name(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    config = json.loads((folder / "adapter_config.json").read_text())
    config |= {"r": 8, "rank_pattern": {"self_attn.q_proj": 4, "v_proj": 4}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert loaded(tmp_path)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def of_the_hub(home: Path, tuned: str, folder: Path | None = None) -> Any:
    (home / "r.yaml").write_text(
        FILE.format(args=LORA, tuned="\n".join(f"    {line}" for line in tuned.splitlines()))
    )
    asked: list[tuple[str, str | None]] = []

    def here(source: str, revision: str | None) -> Path | None:
        asked.append((source, revision))
        return folder

    return load_registry(home / "r.yaml", "cuda", here).models["tuned"], set(asked)


HUB = "adapter: owner/lora\nbase: base"


@pytest.mark.parametrize(
    ("revision", "name"),
    [(None, "owner/lora@main"), ("v2", "owner/lora@v2"), (COMMIT, "owner/lora@0123456789ab")],
)
def test_an_adapter_of_the_hub(tmp_path: Path, revision: str | None, name: str) -> None:
    key = f"\nadapter_revision: {revision}" if revision else ""
    tuned, asked = of_the_hub(tmp_path, HUB + key)
    commit = COMMIT if revision == COMMIT else ""
    own = Adapter(name=name, source="owner/lora", revision=revision, commit=commit)
    assert tuned.adapter == own
    assert asked == {("owner/lora", revision)}
    assert tuned.engine.revision is None
    assert tuned.weights == "owner/model+owner/lora"


def test_what_is_here_of_the_hub_is_held_to_its_commit_and_checked(tmp_path: Path) -> None:
    tuned, _ = of_the_hub(tmp_path, HUB, adapter_folder(tmp_path / COMMIT))
    named = Adapter(name="owner/lora@0123456789ab", source="owner/lora", commit=COMMIT)
    assert tuned.adapter == named
    with pytest.raises(RegistryError, match=r"'adapter': its rank is 16, and args\.max"):
        of_the_hub(tmp_path, HUB, adapter_folder(tmp_path / COMMIT, rank=16))
    with pytest.raises(RegistryError, match=r"'owner/lora': its adapter_config\.json says rank 8"):
        of_the_hub(tmp_path, HUB, adapter_folder(tmp_path / COMMIT, rank=8, tensors=64))


def test_a_folder_of_that_name_goes_before_the_hub(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "owner" / "lora")
    tuned, asked = of_the_hub(tmp_path, HUB)
    assert tuned.adapter.path == str(tmp_path / "owner" / "lora")
    assert not asked


def test_an_overlay_s_own_adapter_has_no_other_s_revision(tmp_path: Path) -> None:
    text = FILE.format(
        args=LORA, tuned="    adapter: o/a\n    adapter_revision: v1\n    base: base"
    )
    text = text.replace("cuda: {}", "cuda:\n    models:\n      tuned: {adapter: o/b}")
    tuned = load(tmp_path, text, "cuda").models["tuned"]
    assert tuned.adapter == Adapter(name="o/b@main", source="o/b")


LLAMACPP = """\
models:
  base: {source: ./m.gguf, engine: llamacpp, args: {n_ctx: 2048}, context: 2K, output: 1K}
  second: {adapter: ./b, base: base}
  first: {adapter: ./a.gguf, base: base}
  beside: {source: ./m.gguf, engine: llamacpp, args: {n_ctx: 2048}, context: 1K, output: 1K}
  vllm:
    source: owner/model
    args: {enable_lora: true, max_lora_rank: 8}
    also: {llamacpp: {args: {n_ctx: 4096}}}
    context: 2K
    output: 1K
  tuned: {adapter: ./b, base: vllm}
profiles:
  p: {}
"""


def test_llama_cpp_s_engine_has_the_adapters_of_all_its_aliases(tmp_path: Path) -> None:
    adapter_folder(tmp_path / "b")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    registry = load(tmp_path, LLAMACPP)
    models = registry.models
    kept = [each.path for each in models["base"].engine.adapters]
    assert kept == [str(tmp_path / "b"), str(tmp_path / "a.gguf")]
    for alias in ("first", "second", "beside"):
        assert models[alias].engine == models["base"].engine
    assert models["vllm"].engine.adapters == ()
    other = registry.with_engine("llamacpp").models
    assert other["vllm"].engine == other["tuned"].engine
    assert [each.path for each in other["tuned"].engine.adapters] == [str(tmp_path / "b")]
    (tmp_path / "a.gguf").write_bytes(b"GGUF2")
    changes = registry_change(registry, load(tmp_path, LLAMACPP)).models
    assert {change.alias: change.kind for change in changes} == dict.fromkeys(
        ("base", "second", "first", "beside"), "restarted"
    ), "llama.cpp loads them at its start"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            LLAMACPP.replace("n_ctx: 2048}, context: 2K", "cache_ram_mib: 64}, context: 2K"),
            "'second', key 'adapter': args.cache_ram_mib keeps prompts, and not by which",
        ),
        (LLAMACPP.replace("./b, base: vllm", "./a.gguf, base: vllm"), "llama.cpp alone reads"),
        (LLAMACPP.replace("./a.gguf", "./c.gguf"), "'./c.gguf' is no folder"),
        (
            LLAMACPP.replace("  second:", "".join(
                f"  m{n}: {{adapter: ./b, base: base}}\n" for n in range(64)) + "  second:"),
            "'second', key 'adapter': is adapter 65 of 'base', whose engine holds 64$",
        ),
        (
            LLAMACPP.replace("engine: llamacpp, args: {n_ctx: 2048}, context: 2K, output: 1K",
                "engine: llamacpp, task: embed, context: 2K"),
            "'base' is no model that generates, which alone has adapters",
        ),
    ],
)  # fmt: skip
def test_what_llama_cpp_cannot_have(tmp_path: Path, text: str, said: str) -> None:
    adapter_folder(tmp_path / "b")
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(RegistryError, match=said):
        load(tmp_path, text)


def test_an_adapter_without_weights(tmp_path: Path) -> None:
    (adapter_folder(tmp_path / "a") / "adapter_model.safetensors").unlink()
    with pytest.raises(RegistryError, match=r"holds no adapter_model\.safetensors"):
        loaded(tmp_path)
