"""The engine of an EngineSpec on other machines: an AsyncLLM here, its core there.

Tokens come straight from the core: it connects to two sockets of this process. Nothing that only
Fjord has goes there: no scheduler, no extension of the worker, no logging file.
"""

import os
import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

from engines.base import EngineUnavailable
from engines.host.processes import ProcessTree
from engines.registry.sources import HUB_ID
from engines.registry.spec import EngineSpec
from engines.vllm.arguments import engine_arguments
from engines.vllm.environment import VARIABLES
from engines.vllm.ray.child import Driver
from engines.vllm.ray.place import RayPlace
from engines.vllm.ray.wire import AskedOfNodes, RayAsk
from engines.vllm.start import freeze_libraries, import_vllm, turn

_LONGEST_START_S = 7200.0
"""The fleet's own limit is shorter."""
_MULTIPLE = ("mp", "ray")


class RemoteCore:
    """One engine's core at its place."""

    def __init__(self, place: RayPlace) -> None:
        self._place = place
        self._driver: Driver | None = None

    def check(self) -> None:
        """Raises EngineDead."""
        if self._driver is not None:
            self._driver.check()

    def end(self) -> None:
        """Idempotent; blocks for seconds at most."""
        if self._driver is not None:
            self._driver.end()

    def make(self, spec: EngineSpec, path: str, processes: ProcessTree) -> Any:
        """An AsyncLLM that is ready. Blocks. Raises EngineUnavailable."""
        with turn(processes):
            import_vllm()
        sockets = _listening(self._place.front)
        try:
            self._driver = driver = Driver(self._ask(spec, path, sockets))
            processes.adopt(driver.pid)
            loaded = driver.loaded(_LONGEST_START_S)
            config = _as_here(pickle.loads(loaded.config), path)
            return _client(config, sockets, spec)
        except EngineUnavailable as error:
            reason = "The engine was stopped while it started." if processes.ended else str(error)
            raise EngineUnavailable(reason) from None
        finally:
            for listener in sockets:
                listener.close()

    def _ask(self, spec: EngineSpec, path: str, sockets: tuple[Any, Any]) -> RayAsk:
        asked = AskedOfNodes(
            seats=self._place.seats,
            arguments=_arguments(spec, path, self._place),
            sockets=(sockets[0].address, sockets[1].address),
            environment=_environment(),
            path=path,
            hub=spec.source if HUB_ID.fullmatch(spec.source) else None,
            revision=spec.revision,
            start_s=_LONGEST_START_S,
        )
        return RayAsk(address=self._place.cluster, engine=asked)


def _environment() -> dict[str, str]:
    """What the operator says to vLLM here holds there too; addresses and devices are a node's."""
    of_a_node = ("VLLM_HOST_IP", "VLLM_LOGGING_CONFIG_PATH", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT")
    own = {k: v for k, v in os.environ.items() if k.startswith(("VLLM_", "NCCL_"))}
    return {**VARIABLES, **{k: v for k, v in own.items() if k not in of_a_node}}


def _arguments(spec: EngineSpec, path: str, place: RayPlace) -> dict[str, Any]:
    from vllm.engine.arg_utils import AsyncEngineArgs

    known = {field.name for field in fields(AsyncEngineArgs)}
    arguments = engine_arguments(spec, path, known, place.is_cpu)
    arguments.pop("device_ids", None)
    if sum(seat.cards for seat in place.seats) > 1:
        arguments["distributed_executor_backend"] = _MULTIPLE[len(place.seats) > 1]
    return arguments


def _listening(address: str) -> tuple[Any, Any]:
    """For requests and for tokens: on the front's address in the cluster alone."""
    import zmq
    from vllm.utils.network_utils import get_tcp_uri, make_zmq_listener

    requests = make_zmq_listener(get_tcp_uri(address, 0), zmq.ROUTER)
    try:
        return requests, make_zmq_listener(get_tcp_uri(address, 0), zmq.PULL)
    except OSError:
        requests.close()
        raise


def _as_here(config: Any, path: str) -> Any:
    """The nodes' config with this machine's files: tokenizer and templates are read here."""
    if Path(path).exists():
        model = config.model_config
        model.model = model.tokenizer = path
    config.parallel_config.placement_group = None
    return config


def _client(config: Any, sockets: tuple[Any, Any], spec: EngineSpec) -> Any:
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    addresses = {
        **{"input_address": sockets[0].address, "output_address": sockets[1].address},
        **{"input_listener": sockets[0].socket, "output_listener": sockets[1].socket},
    }
    llm = AsyncLLM.from_vllm_config(
        config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        disable_log_stats=True,
        client_addresses=addresses,
    )
    freeze_libraries()
    return llm
