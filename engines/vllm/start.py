"""EngineSpec -> a ready AsyncLLM, in a thread of its own; failures in words."""

import asyncio
import concurrent.futures
import contextlib
import gc
import importlib
import os
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from engines.base import EngineUnavailable
from engines.host.library import whole_library
from engines.host.low_priority import giving_way
from engines.host.processes import ProcessTree
from engines.host.quiet_import import link_shared, without_collections
from engines.registry.registry import has_gpu
from engines.registry.spec import EngineSpec
from engines.vllm.arguments import engine_arguments, on_cpu, uses_ray, vllm_renderers
from engines.vllm.caches import compiled_in
from engines.vllm.environment import (
    set_environment,
    sigint_blocked,
    without_compiler,
    without_hub,
)
from engines.vllm.fastpath.switch import is_fast_path_on
from engines.vllm.fastpath.token_batching_start import batch_at_source, prefill_step_ms
from engines.vllm.form_trial import compile_limit_s
from engines.vllm.network import among_machines
from engines.vllm.one_process import in_one_process
from engines.vllm.render import Renderer
from engines.vllm.start_failure import failure_log, why_it_failed

Make: TypeAlias = Callable[[EngineSpec, str, ProcessTree], Any]

TORCH = (
    ("lib/libtorch_global_deps.so", os.RTLD_GLOBAL),
    ("lib/libtorch_python.so", os.RTLD_LOCAL),
)
"""As torch's own import links them on a processor. For CUDA it looks for NVIDIA's libraries in
between, so that is left to it."""
_ONE_AT_A_TIME = threading.Lock()
"""Starting reads and writes the process' environment, and children are told apart by time."""


async def load(
    spec: EngineSpec,
    path: str,
    processes: ProcessTree,
    make: Make | None = None,
    data_dir: Path | None = None,
) -> tuple[Any, Renderer]:
    """Start the engine; returns its AsyncLLM, with what renders its prompts. Ending `processes`
    meanwhile makes this raise. `make`: its AsyncLLM in another way; it blocks, in a thread. What
    it compiles is kept in `data_dir`."""
    ready: concurrent.futures.Future[tuple[Any, Renderer]] = concurrent.futures.Future()
    # A daemon thread of its own: a start that was given up must not keep the process from
    # exiting, and what it blocks (SIGINT) must not leak into a pool's thread.
    arguments = (ready, spec, path, processes, make or partial(_load, data_dir))
    threading.Thread(target=_run, args=arguments, name="vllm-load", daemon=True).start()
    try:
        return await asyncio.wrap_future(ready)
    except asyncio.CancelledError:
        if not ready.cancel() and ready.exception() is None:  # it came at the same moment
            await asyncio.shield(asyncio.to_thread(_discard, ready.result()[0], processes))
        raise


def _run(
    ready: "concurrent.futures.Future[tuple[Any, Renderer]]",
    spec: EngineSpec,
    path: str,
    processes: ProcessTree,
    make: Make,
) -> None:
    llm = None
    try:
        llm = make(spec, path, processes)
        renderer = Renderer(llm, vllm_renderers(spec), is_fast_path_on(spec.args))
    except BaseException as error:
        _discard(llm, processes)
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            ready.set_exception(error)
        return
    try:
        ready.set_result((llm, renderer))
    except concurrent.futures.InvalidStateError:  # nobody waits any more
        _discard(llm, processes)


def _discard(llm: Any, processes: ProcessTree) -> None:
    if llm is not None:
        llm.shutdown(timeout=1)
    processes.end()


def _load(data_dir: Path | None, spec: EngineSpec, path: str, processes: ProcessTree) -> Any:
    is_local = not uses_ray(spec)
    with (
        turn(processes),
        compiled_in(data_dir),
        failure_log(is_local, shows_warnings=has_gpu()) as log_file,
        without_hub(path),
        among_machines(spec.args),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # its libraries' own, at import; ours may be errors
        try:
            llm = _started(spec, path, processes)
        except EngineUnavailable:
            raise
        except Exception as error:
            # vLLM's half-made engine lives in the traceback's frames, with its open sockets.
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            if processes.ended:
                raise EngineUnavailable("The engine was stopped while it started.") from None
            raise EngineUnavailable(why_it_failed(error, log_file, path)) from error
        freeze_libraries()
        return llm


def freeze_libraries() -> None:
    """Without the freeze every full collection walks torch's and vLLM's 600,000 objects: pauses of
    100 ms between tokens. Without the collection, one such pause, what is garbage now would stay
    for ever."""
    gc.collect()
    gc.freeze()


def import_vllm() -> None:
    """As quickly as can be, with its environment."""
    set_environment()
    with whole_library("vllm"), without_collections("vllm"):
        link_shared("torch", TORCH, unless="lib/libtorch_cuda.so")
        importlib.import_module("vllm.engine.arg_utils")
        importlib.import_module("vllm.v1.engine.async_llm")


def _started(spec: EngineSpec, path: str, processes: ProcessTree) -> Any:
    import_vllm()
    from vllm.config import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    is_fast = is_fast_path_on(spec.args)
    compile_limit_s(spec.args)  # a wrong one is told before anything starts
    step_ms = prefill_step_ms(spec.args)
    arguments = engine_arguments(spec, path, {f.name for f in fields(AsyncEngineArgs)})
    forms = arguments.get("structured_outputs_config")
    if isinstance(forms, dict):  # vLLM writes its reasoning_parser into it
        arguments["structured_outputs_config"] = StructuredOutputsConfig(**forms)
    is_eager = bool(arguments.get("enforce_eager")) and on_cpu()
    with processes.adopting(), sigint_blocked(), without_compiler(is_eager):
        # vLLM's own server's defaults (batch sizes by card), not a library's.
        context = UsageContext.OPENAI_API_SERVER
        config = AsyncEngineArgs(**arguments).create_engine_config(context)
        if is_fast and "stream_interval" not in arguments and not uses_ray(spec):
            batch_at_source(config, step_ms)
        with _on_cpu(config, arguments, processes) if on_cpu() else contextlib.nullcontext():
            return AsyncLLM.from_vllm_config(
                config,
                usage_context=context,
                disable_log_stats=bool(arguments.get("disable_log_stats")),
                enable_log_requests=bool(arguments.get("enable_log_requests")),
            )


@contextlib.contextmanager
def _on_cpu(config: Any, arguments: dict[str, Any], processes: ProcessTree) -> Iterator[None]:
    """Streams of another engine need the cores that a start takes."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(in_one_process(config, arguments))
        if processes.has_company:
            stack.enter_context(giving_way(processes.adopted))
        yield


@contextlib.contextmanager
def turn(processes: ProcessTree) -> Iterator[None]:
    while not _ONE_AT_A_TIME.acquire(timeout=0.1):
        if processes.ended:
            raise EngineUnavailable("The engine was stopped before its start began.")
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()
