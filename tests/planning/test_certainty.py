"""What is refused before a load: only what no estimate could make fit, with the numbers, once."""

from pathlib import Path

import pytest

from engines.base import EngineNeverFits, EngineUnavailable
from engines.build import EngineBuilder
from engines.fleet.fleet import Fleet
from engines.planning.cards import parse_cards
from engines.planning.certainty import never_fits
from engines.planning.facts import ModelFacts
from engines.planning.machine import Machine
from engines.planning.shipped import shipped_facts
from engines.registry.spec import EngineSpec, ModelSpec
from engines.weights.refusal import refuse_what_never_fits
from server.cli.registry_facts import asked_of, never_fitting
from tests.support.fleets import QUICK, status, until

MIXTRAL, VL = "mistralai/Mixtral-8x7B-Instruct-v0.1", "Qwen/Qwen3-VL-8B-Instruct"
V3 = "deepseek-ai/DeepSeek-V3-0324"


def reason(source: str, machine: Machine, **args: object) -> str | None:
    facts = shipped_facts(source)
    assert facts is not None
    spec = EngineSpec(kind="vllm", source=source, args={"max_model_len": 32768, **args})
    return never_fits(spec, facts, machine)


def on(cards: str) -> Machine:
    return Machine(cards=parse_cards(cards))


@pytest.mark.parametrize(
    ("source", "cards", "args", "why"),
    [
        (MIXTRAL, "1x80", {"tensor_parallel_size": 2}, "runs on 2 cards and here are 1"),
        (MIXTRAL, "2x24", {"tensor_parallel_size": 2}, "48.9 GB a card (46.7 of weights"),
        (V3, "8x80", {"tensor_parallel_size": 8}, "of weights"),
        (V3, "8x80", {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}, "16 cards"),
        (VL, "1x24", {"max_model_len": 131072}, "of KV cache for 131072 tokens"),
    ],
)
def test_what_is_larger_than_its_cards_is_refused(
    source: str, cards: str, args: dict[str, object], why: str
) -> None:
    refusal = reason(source, on(cards), **args)
    assert refusal is not None
    assert why in refusal


@pytest.mark.parametrize(
    ("source", "machine", "args"),
    [
        (VL, on("1x24"), {}),  # the plan says no, by an estimate of what it computes with
        (MIXTRAL, on("2x80"), {"tensor_parallel_size": 2}),
        (V3, on("8x80"), {"tensor_parallel_size": 16, "nnodes": 2}),
        (MIXTRAL, on("1x24"), {"cpu_offload_gb": 80}),
        (MIXTRAL, on("1x24"), {"distributed_executor_backend": "ray"}),
        (MIXTRAL, Machine(), {}),  # neither cards nor memory can be read
        (VL, Machine(host_bytes=20 * 10**9), {}),
    ],
)
def test_what_may_fit_is_not_refused(
    source: str, machine: Machine, args: dict[str, object]
) -> None:
    assert reason(source, machine, **args) is None


def test_weights_beyond_all_memory_are_refused_on_a_cpu() -> None:
    refusal = reason(MIXTRAL, Machine(host_bytes=25 * 10**9))
    assert refusal is not None
    assert "93.4 GB of memory and the machine has 25.0" in refusal


def test_llamacpp_reads_from_the_disk_what_has_no_room() -> None:
    spec = EngineSpec(kind="llamacpp", source="x")
    facts = ModelFacts(name="x", elements={"U8": 10**12}, stored_bytes=10**12)
    assert never_fits(spec, facts, Machine(host_bytes=10**9)) is None


def model(source: str, alias: str = "a", **args: object) -> ModelSpec:
    spec = EngineSpec(kind="vllm", source=source, args=args)
    return ModelSpec(alias=alias, engine=spec, context_tokens=32768, output_tokens=99, load="start")


def test_a_start_tells_what_never_fits_by_alias() -> None:
    models = [model(V3, "big"), model(VL, "small", max_model_len=4096), model("own/one", "own")]
    (line,) = never_fitting(asked_of(models, Path("nowhere"), may_ask_hub=False), on("1x80"))
    assert line.startswith("big never fits: it takes 684.7 GB")


@pytest.mark.anyio
async def test_a_fleet_refuses_once_with_the_numbers_and_tries_no_more(tmp_path: Path) -> None:
    tried = []

    async def build(spec: EngineSpec) -> object:
        tried.append(spec.key)
        refuse_what_never_fits(spec, tmp_path, lambda *_: None, lambda: on("1x24"))
        raise AssertionError("it was not refused")

    fleet = Fleet([model(MIXTRAL)], build, backoff=QUICK)  # type: ignore[arg-type]
    await fleet.start()
    await until(lambda: status(fleet, "a").state == "failed")
    for _ in range(3):
        with pytest.raises(EngineNeverFits, match=r"can never be loaded here: it takes 97\.7 GB"):
            async with fleet.lease("a"):
                pass
    assert len(tried) == 1
    assert "of weights" in str(status(fleet, "a").reason)
    await fleet.stop()


@pytest.mark.anyio
async def test_a_transient_failure_is_tried_again() -> None:
    tried = []

    async def build(spec: EngineSpec) -> object:
        tried.append(spec.key)
        raise EngineUnavailable("the hub is away")

    fleet = Fleet([model(MIXTRAL)], build, backoff=QUICK)  # type: ignore[arg-type]
    await fleet.start()
    await until(lambda: len(tried) >= 3)
    await fleet.stop()


@pytest.mark.anyio
@pytest.mark.slow
async def test_the_builder_refuses_before_it_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepSeek's weights in no machine of tests; no hub is asked."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EngineNeverFits, match=r"67\d\.\d GB of memory"):
        await EngineBuilder(tmp_path, lambda *_: None)(model(V3, dtype="bfloat16").engine)
