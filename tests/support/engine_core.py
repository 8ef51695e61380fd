"""A real AsyncLLM on the tiny model with a core in this process: no weights, tokens by a formula.

All of the front is vLLM's own: its renderer, its input and output processor, its output handler.
"""

import asyncio
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from engines.host.processes import ProcessTree
from engines.registry.spec import EngineSpec
from engines.testing.tiny import make_llama
from engines.vllm.arguments import engine_arguments
from engines.vllm.engine import VllmEngine
from engines.vllm.environment import set_environment, without_hub
from engines.vllm.render import Renderer


class _Socket(zmq.Socket[bytes]):
    """Nothing comes by it."""

    def __del__(self) -> None:
        self.close(linger=0)


class EngineCore:
    """In the place of vLLM's AsyncMPClient. Each answer is its prompt, read over and over."""

    def __init__(self) -> None:
        self.resources = SimpleNamespace(
            engine_dead=False, output_queue_task=None, stats_update_task=None, ctx=self
        )
        self.input_socket = _Socket(zmq.Context.instance(), zmq.ROUTER)
        self.resources.output_socket = _Socket(zmq.Context.instance(), zmq.PULL)
        self.ctx = SimpleNamespace(_sockets=())
        self.requests: dict[str, Any] = {}
        self._has_requests = asyncio.Event()
        self.aborted: list[str] = []
        self.finish: Any = None
        """How answers end at their last token; None: vLLM's LENGTH."""

    def begin_again(self) -> None:
        self.requests.clear()
        self.aborted.clear()
        self.finish = None
        self.resources.engine_dead = False

    async def get_supported_tasks_async(self) -> tuple[str, ...]:
        return ("generate",)

    async def add_request_async(self, request: Any) -> None:
        self.requests[request.request_id] = [request, 0]
        self._has_requests.set()

    async def abort_requests_async(self, request_ids: list[str]) -> None:
        for name in request_ids:
            self.aborted.append(name)
            self.requests.pop(name, None)

    async def get_output_async(self) -> Any:
        from vllm.v1.engine import EngineCoreOutputs

        while not self.requests:
            self._has_requests = asyncio.Event()  # each test has a loop of its own
            await self._has_requests.wait()
        await asyncio.sleep(0)
        return EngineCoreOutputs(outputs=[self._output(name) for name in list(self.requests)])

    def _output(self, name: str) -> Any:
        from vllm.v1.engine import EngineCoreOutput, FinishReason
        from vllm.v1.metrics.stats import PrefillStats

        request, count = self.requests[name]
        self.requests[name][1] = count + 1
        prompt = request.prompt_token_ids
        output = EngineCoreOutput(request_id=name, new_token_ids=[prompt[count % len(prompt)]])
        if count == 0:
            output.prefill_stats = PrefillStats(num_cached_tokens=2)
        if count + 1 == request.sampling_params.max_tokens:
            output.finish_reason = FinishReason.LENGTH if self.finish is None else self.finish
            del self.requests[name]
        return output

    async def is_sleeping_async(self) -> bool:
        return False

    async def collective_rpc_async(self, method: str, *_: Any) -> list[Any]:
        """Of no worker: there is none."""
        return []

    def shutdown(self, timeout: float | None = None) -> None:
        self.requests.clear()

    def destroy(self, linger: int) -> None:
        pass


def in_process_llm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Blocks for seconds at first. Its core is `llm.engine_core`."""
    with warnings.catch_warnings(), without_hub(str(folder)):
        warnings.simplefilter("ignore")  # vLLM's libraries warn while they are imported
        set_environment()
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.engine.core_client import EngineCoreClient

        make_llama(folder)
        args = {"max_model_len": 4096, "kv_cache_memory_bytes": 2**28}
        spec = EngineSpec(kind="vllm", source=str(folder), args=args)
        arguments = engine_arguments(spec, str(folder), {f.name for f in fields(AsyncEngineArgs)})
        del arguments["structured_outputs_config"]
        config = AsyncEngineArgs(**arguments).create_engine_config()
        with monkeypatch.context() as patched:
            patched.setattr(
                EngineCoreClient,
                "make_async_mp_client",
                staticmethod(lambda *_, **__: EngineCore()),
            )
            return AsyncLLM.from_vllm_config(config, disable_log_stats=True)


def engine_over(llm: Any, **args: Any) -> VllmEngine:
    """A VllmEngine whose start finds `llm` ready."""

    async def load(spec: EngineSpec, path: str, processes: ProcessTree) -> tuple[Any, Renderer]:
        return llm, Renderer(llm)

    spec = EngineSpec(kind="vllm", source="tiny", args=args)
    return VllmEngine(spec, "tiny", load)
