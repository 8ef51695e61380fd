"""EngineSpec -> the keywords of vLLM's AsyncEngineArgs: ours, and the spec's over them."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from engines.base import EngineUnavailable
from engines.host.cpu import CACHE_BYTES, has_bfloat16
from engines.planning.config import has_linear_attention
from engines.registry.spec import POOLING, EngineSpec
from engines.registry.vllm_names import OWN_ARGUMENTS, by_keyword, unknown_arguments
from engines.vllm.fastpath.switch import is_fast_path_on
from engines.vllm.reranker import reranker_arguments
from engines.vllm.thinking_budget import reasoning_config
from engines.vllm.worker_memory import EXTENSION

EXTENSION_WITH_ADAPTERS = "engines.vllm.cpu_adapters.WorkerWithAdapters"
EXTENSION_ON_CPU = "engines.vllm.cpu_worker.WorkerOnCpu"
DEVICES, MEMORY = "device_ids", "gpu_memory_utilization"
RENDERERS = max(2, min(4, (os.cpu_count() or 1) // 2))
"""Prompts that are rendered at once: with one thread, as in vLLM itself, one of a million
characters holds up everybody's. Ordinary ones share a tokenizer."""
_VLLM_RENDERERS = RENDERERS if (os.cpu_count() or 1) > 4 else 1
"""... of which so many may go vLLM's way, each with a tokenizer of its own (SmolLM2's: 65 MiB)."""


def engine_arguments(
    spec: EngineSpec, path: str, known: set[str], is_cpu: bool | None = None
) -> dict[str, Any]:
    """AsyncEngineArgs' keywords: ours, then the spec's over them. `is_cpu`: of vLLM on the machine
    that it is for; None: this one."""
    is_elsewhere = is_cpu is not None
    is_cpu = on_cpu() if is_cpu is None else is_cpu
    given = {k: v for k, v in given_arguments(spec).items() if k not in OWN_ARGUMENTS}
    if DEVICES not in known or is_cpu:
        given.pop(DEVICES, None)
    check_names(given, known)
    arguments: dict[str, Any] = {
        "model": path,
        "served_model_name": [spec.source],
        # The fast path's scheduler tells them once a second; vLLM's own with every step.
        "disable_log_stats": is_fast_path_on(spec.args),
        "scheduling_policy": "priority",
        "runner": "pooling" if spec.task in POOLING else "generate",
        "renderer_num_workers": vllm_renderers(spec),
        "use_tqdm_on_load": False,
        # Compact JSON: small models otherwise write spaces until their tokens are used up.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if not (is_elsewhere or uses_ray(spec)):
        arguments["worker_extension_cls"] = EXTENSION
    if spec.revision is not None and not Path(path).is_dir():
        arguments |= {"revision": spec.revision, "tokenizer_revision": spec.revision}
    if spec.task == "transcribe":
        arguments["limit_mm_per_prompt"] = {"audio": 1}
    arguments |= reasoning_config(spec, given)
    if spec.task == "rerank":
        arguments |= reranker_arguments(_config(path))
    if is_cpu:
        arguments |= cpu_arguments(path)
        if given.get("enable_lora") and not is_elsewhere:
            arguments["worker_extension_cls"] = EXTENSION_WITH_ADAPTERS
        elif "worker_extension_cls" in arguments:
            arguments["worker_extension_cls"] = EXTENSION_ON_CPU
    if spec.images:
        given |= picture_arguments(spec.images, given)
    return {k: v for k, v in arguments.items() if k in known} | given


def picture_arguments(images: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM's cache of processed pictures is off: it takes for granted that whatever was rendered
    is generated, and the engine dies where a picture it never got is named again."""
    limits = given.get("limit_mm_per_prompt") or {}
    return {
        # Where the template has a place for texts alone, pictures stay between them.
        "interleave_mm_strings": True,
        "limit_mm_per_prompt": {"video": 0, **limits, "image": images},
        "mm_processor_cache_gb": 0,
    }


def given_arguments(spec: EngineSpec) -> dict[str, Any]:
    """The spec's own, under the names that Python's keywords have."""
    return by_keyword(spec.args)


def placed(spec: EngineSpec, cards: tuple[int, ...], part: float) -> EngineSpec:
    """The spec on these cards with that part of their memory, unless its own arguments say which,
    or Ray decides it."""
    given = given_arguments(spec)
    if DEVICES in given or uses_ray(spec):
        return spec
    memory = {} if MEMORY in given else {MEMORY: math.floor(part * 10_000) / 10_000}
    return replace(spec, args={**spec.args, DEVICES: list(cards), **memory})


def vllm_renderers(spec: EngineSpec) -> int:
    """vLLM refuses several for a pooling model that reads images."""
    return 1 if spec.task in POOLING else _VLLM_RENDERERS


def uses_ray(spec: EngineSpec) -> bool:
    """Whether its workers may run on other machines, which have neither our code nor our files."""
    given = given_arguments(spec)
    backends = ("distributed_executor_backend", "data_parallel_backend")
    return any(given.get(name) == "ray" for name in backends)


def check_names(given: Mapping[str, Any], known: set[str]) -> None:
    for name, complaint in unknown_arguments(given, known):
        raise EngineUnavailable(f"args.{name}: {complaint}.")


def on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def cpu_arguments(path: str) -> dict[str, Any]:
    """Eager: a start of 20 s and not 95 s, for 15 % of the tokens/s. The cache is bounded because
    vLLM would take half of the machine's memory. Linear attention is in bfloat16 alone."""
    free = psutil.virtual_memory().available
    is_half = has_bfloat16() or has_linear_attention(_config(path))
    return {
        "dtype": "bfloat16" if is_half else "float32",
        "enforce_eager": True,
        "kv_cache_memory_bytes": min(CACHE_BYTES, free // 4),
    }


def _config(path: str) -> Mapping[str, Any]:
    """Of weights on this disk; empty for others, and for what is none."""
    try:
        read = json.loads((Path(path) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
