"""EngineSpec -> a ready AsyncLLM, in a thread: environment, arguments, failures in words."""

import asyncio
import concurrent.futures
import contextlib
import gc
import multiprocessing.resource_tracker
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import psutil

from engines.base import EngineUnavailable
from engines.host.processes import ProcessTree
from engines.registry.spec import EngineSpec
from engines.registry.vllm_names import unknown_arguments
from engines.vllm.render import Renderer
from engines.vllm.start_failure import failure_log, why_it_failed

_ONE_AT_A_TIME = threading.Lock()
"""Starting reads and writes the process' environment, and children are told apart by time."""

_CPU_CACHE_BYTES = 2 * 2**30
RENDERERS = max(2, min(4, (os.cpu_count() or 1) // 2))
"""Prompts that are rendered at once: with one thread, as in vLLM itself, one of a million
characters holds up everybody's. Ordinary ones share a tokenizer."""
VLLM_RENDERERS = RENDERERS if (os.cpu_count() or 1) > 4 else 1
"""... of which so many may go vLLM's way, each with a tokenizer of its own (SmolLM2's: 65 MiB)."""


async def load(spec: EngineSpec, path: str, tree: ProcessTree) -> tuple[Any, Renderer]:
    """Start the engine; returns its AsyncLLM, with what renders its prompts. Ending `tree`
    meanwhile makes this raise."""
    ready: concurrent.futures.Future[tuple[Any, Renderer]] = concurrent.futures.Future()
    # A daemon thread of its own: a start that was given up must not keep the process from
    # exiting, and what it blocks (SIGINT) must not leak into a pool's thread.
    arguments = (ready, spec, path, tree)
    threading.Thread(target=_run, args=arguments, name="vllm-load", daemon=True).start()
    try:
        return await asyncio.wrap_future(ready)
    except asyncio.CancelledError:
        if not ready.cancel() and ready.exception() is None:  # it came at the same moment
            await asyncio.shield(asyncio.to_thread(_discard, ready.result()[0], tree))
        raise


def _run(
    ready: "concurrent.futures.Future[tuple[Any, Renderer]]",
    spec: EngineSpec,
    path: str,
    tree: ProcessTree,
) -> None:
    llm = None
    try:
        llm = _load(spec, path, tree)
        made = llm, Renderer(llm, VLLM_RENDERERS)
    except BaseException as error:
        _discard(llm, tree)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            ready.set_exception(error)
        return
    try:
        ready.set_result(made)
    except concurrent.futures.InvalidStateError:  # nobody waits any more
        _discard(llm, tree)


def _discard(llm: Any, tree: ProcessTree) -> None:
    if llm is not None:
        llm.shutdown(timeout=1)
    tree.end()


def _load(spec: EngineSpec, path: str, tree: ProcessTree) -> Any:
    with _turn(tree), failure_log() as log_file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries' own, at import; ours may be errors
        try:
            set_environment(path)
            from vllm.config import StructuredOutputsConfig
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.async_llm import AsyncLLM

            arguments = engine_arguments(spec, path, {f.name for f in fields(AsyncEngineArgs)})
            forms = arguments.get("structured_outputs_config")
            if isinstance(forms, dict):  # vLLM writes its reasoning_parser into it
                arguments["structured_outputs_config"] = StructuredOutputsConfig(**forms)
            is_eager = bool(arguments.get("enforce_eager")) and _on_cpu()
            with tree.adopting(), _sigint_blocked(), _no_compiler(is_eager):
                # vLLM's own server's defaults (batch sizes by card), not a library's.
                context = UsageContext.OPENAI_API_SERVER
                config = AsyncEngineArgs(**arguments).create_engine_config(context)
                if "stream_interval" not in arguments:
                    batch_at_source(config)
                llm = AsyncLLM.from_vllm_config(
                    config,
                    usage_context=context,
                    disable_log_stats=bool(arguments.get("disable_log_stats")),
                    enable_log_requests=bool(arguments.get("enable_log_requests")),
                )
        except EngineUnavailable:
            raise
        except Exception as error:
            # vLLM's half-made engine lives in the traceback's frames, with its open sockets.
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            if tree.ended:
                raise EngineUnavailable("The engine was stopped while it started.") from None
            raise EngineUnavailable(why_it_failed(error, log_file, path)) from error
        # Without this every full collection walks torch's and vLLM's 600,000 objects: pauses of
        # 100 ms between tokens. No collect() first: that would be one such pause for others.
        gc.freeze()
        _remember_end(llm.renderer)
        return llm


def batch_at_source(config: Any) -> None:
    """Have a VllmConfig make the merging form of the scheduler that it would make. Not where
    engines run on a Ray cluster's other machines, which do not have it."""
    from engines.vllm.fastpath.scheduler import batching_scheduler

    scheduler = config.scheduler_config
    if scheduler.scheduler_cls is None and config.parallel_config.data_parallel_backend != "ray":
        scheduler.scheduler_cls = batching_scheduler(scheduler.get_scheduler_cls())


def _remember_end(renderer: Any) -> None:
    """vLLM asks the tokenizer with every request: 30 µs of attribute look-ups."""
    if hasattr(renderer, "get_eos_token_id"):
        end = renderer.get_eos_token_id()
        renderer.get_eos_token_id = lambda: end


@contextlib.contextmanager
def _turn(tree: ProcessTree) -> Iterator[None]:
    while not _ONE_AT_A_TIME.acquire(timeout=0.1):
        if tree.ended:
            raise EngineUnavailable("The engine was stopped before its start began.")
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Children inherit this thread's mask: a terminal's Ctrl-C goes to the whole process group,
    and must not end the engine before the front has drained."""
    # Its first start unblocks SIGINT in the calling thread.
    multiprocessing.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _no_compiler(is_wanted: bool) -> Iterator[None]:
    """enforce_eager leaves the sampler's own torch.compile: on a CPU the first request with
    logprobs then stops every stream for 40 s while a C++ compiler runs."""
    variable = "TORCHDYNAMO_DISABLE"
    if not is_wanted or variable in os.environ:
        yield
        return
    os.environ[variable] = "1"
    try:
        yield
    finally:
        del os.environ[variable]


def set_environment(path: str) -> None:
    """What vLLM reads from the environment; most of it only at its first import."""
    wanted = {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if Path(path).is_dir():
        wanted["HF_HUB_OFFLINE"] = "1"
    if (os.cpu_count() or 1) <= 4:
        # vLLM leaves one core to the front by default: of two that is half (165 against 255
        # tokens/s with SmolLM2 at 32 streams).
        wanted["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
        # The front then shares its cores, and a thread of libgomp that spins for its peer keeps it
        # out. Tokens/s in alternating runs on 2 cores with libgomp's default, 5000 and 1000
        # spins: a tiny model at 64 streams 5,954, 7,898, 8,109; SmolLM2 at one stream 31, 35, 28,
        # at 32 361, 366, 349.
        wanted["GOMP_SPINCOUNT"] = "5000"
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def engine_arguments(spec: EngineSpec, path: str, known: set[str]) -> dict[str, Any]:
    """AsyncEngineArgs' keywords: ours, then the spec's over them."""
    given = {name.replace("-", "_"): value for name, value in spec.args.items()}
    check_names(given, known)
    arguments: dict[str, Any] = {
        "model": path,
        "served_model_name": [spec.source],
        "disable_log_stats": True,
        "scheduling_policy": "priority",
        "runner": "pooling" if spec.task == "embed" else "generate",
        "renderer_num_workers": VLLM_RENDERERS,
        "use_tqdm_on_load": False,
        # Compact JSON: small models otherwise write spaces until their tokens are used up.
        "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    }
    if spec.revision is not None and not Path(path).is_dir():
        arguments |= {"revision": spec.revision, "tokenizer_revision": spec.revision}
    if _on_cpu():
        arguments |= cpu_arguments(given)
    return {k: v for k, v in arguments.items() if k in known} | given


def check_names(given: Mapping[str, Any], known: set[str]) -> None:
    for name, complaint in unknown_arguments(given, known):
        raise EngineUnavailable(f"args.{name}: {complaint}.")


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def cpu_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Eager: a start of 20 s and not 95 s, for 15 % of the tokens/s. The cache is bounded because
    vLLM would take half of the machine's memory."""
    free = psutil.virtual_memory().available
    return {
        "dtype": "bfloat16" if _has_bfloat16() else "float32",
        "enforce_eager": True,
        "kv_cache_memory_bytes": min(_CPU_CACHE_BYTES, free // 4),
    }


def _has_bfloat16() -> bool:
    """Without bf16 instructions float32 is three times faster in a batch."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
