"""Fjord, vLLM's own server and `LLM.generate` in turn: the table of a card."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench import Results, compare
from benchmarks.cases import Case
from benchmarks.gpu.setting import Failed, Setting
from benchmarks.models import Model, make_model
from benchmarks.report import ratios
from benchmarks.servers import FJORD, OFFLINE, VLLM, Side

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


def bench(setting: Setting) -> None:
    """As many rounds as the time allows."""
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
    return {**document, "ratios": ratios(document["medians"])}
