"""Scripted engines that stand on cards: a machine with two, and what engines take of them."""

from collections.abc import Sequence

from engines.fleet.device_memory import DeviceMemory, MemoryNeed
from engines.fleet.node_memory import NodeMemory
from engines.memory_in_use import MemoryInUse
from engines.planning.cards import parse_cards
from engines.planning.demands import capacity
from engines.planning.machine import Machine
from engines.planning.plan import plan
from engines.registry.spec import EngineSpec
from engines.stats import EngineStats
from engines.testing.scripted import ScriptedEngine

GB = 10**9
MACHINE = Machine(cards=parse_cards("2xH100-80"), host_bytes=200 * GB)
NEED = MemoryNeed(bytes_each=30 * GB, devices=1)


class CardedEngine(ScriptedEngine):
    """Takes 28 GB of its card, 20 of them a cache that is a quarter full."""

    def memory_in_use(self) -> Sequence[MemoryInUse]:
        kv = 20 * GB
        return [MemoryInUse(kv_bytes=kv, weights_bytes=7 * GB, reserve_bytes=GB)]

    def stats(self) -> EngineStats:
        return EngineStats(running_requests=3, kv_cache_usage=0.25)


def carded_memory(free: Sequence[int] = (50 * GB, 80 * GB)) -> NodeMemory:
    """`free`: what nvidia-smi would say."""

    def need(spec: EngineSpec) -> MemoryNeed:
        return NEED

    room = DeviceMemory(tuple(capacity(card) for card in MACHINE.cards), MACHINE.host_bytes)
    return NodeMemory(room, need, lambda: free, plan=plan([], MACHINE))
