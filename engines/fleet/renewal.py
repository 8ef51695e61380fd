"""The registry read again: which engines are new, which end, and which go on as something else."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping

from engines.base import Adapter
from engines.fleet.engine_state import ManagedEngine
from engines.fleet.inbox import Tell, obeyed
from engines.fleet.node_memory import NodeMemory
from engines.fleet.replicas import Replicas
from engines.fleet.shared_engines import by_alias, group_replicas, shared_engines
from engines.registry.spec import ModelSpec

log = logging.getLogger("fjord.fleet")


class Renewal:
    """`engines` by key and `by_alias` are the fleet's own. An alias that is gone stays in the
    latter: a request that is under way still asks for it."""

    def __init__(
        self,
        engines: dict[str, ManagedEngine],
        by_alias: dict[str, ManagedEngine],
        memory: NodeMemory,
        tell: Tell,
        begin_adapter: Callable[[Adapter], None],
    ) -> None:
        """`begin_adapter`: its files are fetched before a request asks for it."""
        self.begin_adapter = begin_adapter
        self._engines, self._by_alias, self._memory, self._tell = engines, by_alias, memory, tell
        self._one_by_one = asyncio.Lock()

    async def renew(self, models: Iterable[ModelSpec], then: Callable[[], None]) -> None:
        """From now on exactly `models` are served; `then` is called in the same moment. Engines
        that none of them uses end once their requests have ended. Raises EngineUnavailable where
        the fleet stops."""
        models = tuple(models)
        wanted = shared_engines(models)
        async with self._one_by_one:
            for managed in wanted.values():
                if managed.spec.key not in self._engines:
                    await asyncio.to_thread(self._memory.first_look, managed)
            await obeyed(self._tell, lambda: self._take_over(wanted, then))
        self.begin_adapters(models)

    def begin_adapters(self, models: Iterable[ModelSpec]) -> None:
        """Those of models that are loaded at the start."""
        for model in models:
            if model.preload and model.adapter is not None:
                self.begin_adapter(model.adapter)

    def _take_over(self, wanted: Mapping[str, ManagedEngine], then: Callable[[], None]) -> None:
        before = {key: managed for key, managed in self._engines.items() if not managed.is_gone}
        kept = {key: before.get(key, new) for key, new in wanted.items()}
        for key, new in wanted.items():
            if key not in before or kept[key].is_removed:
                _begin(kept[key], new, self._by_alias)
            else:
                _go_on(kept[key], new)
        for key, managed in before.items():
            if key not in wanted and not managed.is_removed:
                _end(managed)
        group_replicas(kept)
        self._engines.clear()
        self._engines.update(kept | {key: m for key, m in before.items() if key not in wanted})
        self._by_alias.update(by_alias(kept.values()))
        then()


def _go_on(managed: ManagedEngine, wanted: ManagedEngine) -> None:
    """The same engine; what an operator said of it stays, but where the registry says otherwise
    than before."""
    has_lost = not set(managed.aliases) <= set(wanted.aliases)
    if wanted.keep_ready and not managed.keep_ready:
        managed.is_displaced = False
        if managed.sleep.level:
            managed.called_at = managed.called_at or time.monotonic()
    if wanted.is_pinned != managed.is_pinned_at_first:
        managed.is_pinned = wanted.is_pinned
        managed.sleep.is_ordered &= not wanted.is_pinned
    managed.closed = (managed.closed | (wanted.never - managed.never)) & wanted.never
    _take_words(managed, wanted)
    if has_lost or managed.closed:
        managed.wake()


def _take_words(managed: ManagedEngine, wanted: ManagedEngine) -> None:
    """What the registry alone says."""
    managed.aliases, managed.never = wanted.aliases, wanted.never
    managed.is_pinned_at_first = wanted.is_pinned_at_first
    managed.keep_ready, managed.keep_s = wanted.keep_ready, wanted.keep_s
    managed.start_timeout_s = wanted.start_timeout_s


def _begin(
    managed: ManagedEngine, wanted: ManagedEngine, by_alias: Mapping[str, ManagedEngine]
) -> None:
    """A new engine, or one that comes back before it has ended. It loads at once where one of its
    aliases was up; what an operator has opened stays open, and what he has pinned pinned."""
    _take_words(managed, wanted)
    managed.is_removed = managed.is_unwanted = managed.is_displaced = False
    former = {alias: by_alias[alias] for alias in managed.aliases if alias in by_alias}
    managed.is_pinned, managed.closed = _pin(wanted, former.values()), set(wanted.never)
    managed.closed -= {a for a, f in former.items() if a in f.never and a not in f.closed}
    if managed.spec.replica:  # the first one's pin is its own; it follows where there is room
        known = [f for f in former.values() if f.spec.group == managed.spec.group]
        managed.is_pinned = any(f.is_pinned for f in known) if known else managed.is_pinned
    elif any(_is_up(each) for f in former.values() for each in f.replicas.members):
        managed.called_at = time.monotonic()


def _pin(wanted: ManagedEngine, former: Iterable[ManagedEngine]) -> bool:
    """As an operator left it, but where the registry says otherwise than before."""
    left = [each.is_pinned for each in former if each.is_pinned_at_first == wanted.is_pinned]
    return any(left) if left else wanted.is_pinned


def _is_up(managed: ManagedEngine) -> bool:
    """Or comes up; and nobody ends it, or has it sleep."""
    down = ("cold", "failed", "stopping", "falling_asleep", "sleeping")
    is_up = managed.state not in down or managed.is_broken
    return is_up and not (managed.is_removed or managed.is_unwanted)


def _end(managed: ManagedEngine) -> None:
    log.info("engine %s is in the registry no more: it ends with its requests", managed.spec.key)
    managed.aliases = ()
    managed.is_removed = managed.is_displaced = True
    managed.keep_ready = managed.is_replacement = managed.is_pinned = False
    managed.called_at = None
    managed.is_unwanted = managed.state not in ("cold", "failed")
    managed.wake()
    managed.replicas = Replicas((managed,))
