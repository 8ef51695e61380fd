"""What LoRA adapters take of an engine's memory, as vLLM 0.32 allocates it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.base import Adapter
from engines.planning.cards import parse_cards
from engines.planning.certainty import never_fits
from engines.planning.demands import fit
from engines.planning.engine_arguments import vllm_arguments
from engines.planning.facts import Experts, LoraSides, ModelFacts
from engines.planning.lora import copies_bytes, lora_sides, slots_bytes
from engines.planning.machine import Machine
from engines.planning.shipped import shipped_facts
from engines.planning.stored import facts_of_path
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from tests.support.adapters import adapter_folder

LORA = {"enable_lora": True, "max_loras": 3, "max_lora_rank": 8, "max_cpu_loras": 5}
BIG = "meta-llama/Llama-3.1-405B-Instruct-FP8"


def spec_of(source: str, **args: Any) -> EngineSpec:
    return EngineSpec(kind="vllm", source=source, args=args)


def slots(facts: ModelFacts, **args: Any) -> int:
    return slots_bytes(facts, vllm_arguments(spec_of("m", **args)))


def test_a_tiny_llama_s_are_those_that_its_worker_has(tmp_path: Path) -> None:
    """Summed up over lora_a_stacked and lora_b_stacked of its modules, in vLLM's CPU worker."""
    facts = facts_of_path(make_llama(tmp_path / "tiny"))
    assert facts.lora == LoraSides(whole=1542, shared=1152)
    assert slots(facts, **LORA, dtype="float32") == 258_624
    assert slots(facts, **LORA) == 258_624 // 2, "in the model's own bfloat16"
    assert slots(facts, **LORA, dtype="float32", lora_dtype="bfloat16") == 258_624 // 2


def test_tinier_arguments_are_vllm_s_own(tmp_path: Path) -> None:
    facts = facts_of_path(make_llama(tmp_path / "tiny"))
    assert slots(facts) == slots(facts, enable_lora=False, max_loras=4) == 0
    usual = slots(facts, enable_lora=True)
    assert usual == 16 * (1542 + 1152) * 2
    assert slots(facts, **{"enable-lora": True, "max-loras": 2}) == 2 * usual
    args = vllm_arguments(spec_of("m", enable_lora=True, max_loras=4, max_cpu_loras=2))
    assert copies_bytes(facts, args) == 4 * usual, "as many as are in a batch, at least"


def test_cards_share_what_vllm_shares() -> None:
    facts = shipped_facts(BIG)
    assert facts is not None
    one = slots(facts, **LORA)
    eight = slots(facts, **LORA, tensor_parallel_size=8)
    whole, shared = facts.lora.whole, facts.lora.shared
    assert eight == pytest.approx(3 * 8 * 2 * (whole + shared / 8), rel=1e-6)
    sharded = slots(facts, **LORA, tensor_parallel_size=8, fully_sharded_loras=True)
    assert sharded == pytest.approx(one / 8, rel=1e-6)
    assert slots(facts, **LORA, pipeline_parallel_size=2) == pytest.approx(one / 2, rel=1e-6)


def test_experts_count_each() -> None:
    text = {
        "num_hidden_layers": 4,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "intermediate_size": 256,
    }
    plain = lora_sides(text, None)
    mixed = lora_sides(text, Experts(count=8, chosen=2, width=32, layers=4))
    assert plain.shared == 4 * (2 * 64 + 2 * 64 + 3 * 256)
    assert mixed.shared == 4 * (2 * 64 + 2 * 64 + 8 * 3 * 32)
    assert mixed.whole - plain.whole == 4 * (7 * 3 * 64 + 64 + 8)


def test_a_latent_attention_is_counted_whatever_its_config_lacks() -> None:
    text = {
        "num_hidden_layers": 1,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
    }
    assert lora_sides(text, None).whole > 0
    assert lora_sides({**text, "q_lora_rank": 32, "v_head_dim": 16}, None).shared > 0


def test_a_plan_has_them_on_cards_and_in_memory_and_refuses_nothing_for_them() -> None:
    facts = shipped_facts(BIG)
    assert facts is not None
    node = Machine(cards=tuple(parse_cards("8xH100-80")), host_bytes=10**12)
    args = {"tensor_parallel_size": 8, "max_model_len": 8192}
    without = fit(spec_of(BIG, **args), facts, node)
    with_lora = fit(spec_of(BIG, **args, **LORA), facts, node)
    more = with_lora.need.weights_bytes - without.need.weights_bytes
    assert more == slots(facts, **args, **LORA) > 10**8
    assert without.demand.host_bytes == 0
    assert with_lora.demand.host_bytes == copies_bytes(
        facts, vllm_arguments(spec_of(BIG, **args, **LORA))
    )
    huge = {**args, **LORA, "max_loras": 512, "max_lora_rank": 512}
    assert "of weights" in str(fit(spec_of(BIG, **huge), facts, node).refusal)
    assert never_fits(spec_of(BIG, **huge), facts, node) is None, "an estimate alone refuses none"


def test_llama_cpp_s_are_as_large_as_their_files(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "a")
    (tmp_path / "b.gguf").write_bytes(bytes(1000))
    paths = (folder, tmp_path / "b.gguf", tmp_path / "gone")
    adapters = tuple(Adapter(name=path.name, path=str(path)) for path in paths)
    facts = facts_of_path(make_llama(tmp_path / "tiny"))
    here = Machine(cards=(), host_bytes=10**10)
    spec = EngineSpec(kind="llamacpp", source="m")
    plain, lora = (fit(each, facts, here).need for each in (spec, replace(spec, adapters=adapters)))
    size = (folder / "adapter_model.safetensors").stat().st_size
    assert lora.reserve_bytes - plain.reserve_bytes == 2 * size + 1000


def test_on_a_cpu_slots_and_copies_are_of_one_memory(tmp_path: Path) -> None:
    facts = facts_of_path(make_llama(tmp_path / "tiny"))
    here = Machine(cards=(), host_bytes=10**10, cpu_dtype="F32", cpu_cache_bytes=2**20)
    plain, lora = (fit(spec_of("m", **args), facts, here).need for args in ({}, LORA))
    assert lora.weights_bytes - plain.weights_bytes == 258_624 + 258_624 * 5 // 3
