"""The scripted engine's sleep: memory that it gives back, and ways to sleep and wake that fail.

`spec.args` (all optional): can_sleep (true: it can), weights_bytes and cache_bytes (what it holds
of its card awake), sleep_s, wake_s, fail_sleep and fail_wake (a reason), hang_sleep and hang_wake
(true: it never ends), differs_after_wake (true: it says something else).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from engines.base import EngineUnavailable


class ScriptedSleep:
    """Where the memory of a scripted engine is."""

    def __init__(self, args: Mapping[str, Any]) -> None:
        self._args = args
        self._weights_bytes = int(args.get("weights_bytes", 0))
        self._whole_bytes = self._weights_bytes + int(args.get("cache_bytes", 0))
        self.level = 0
        """0: it is awake."""
        self.card_bytes = 0
        self.is_changed = False

    @property
    def host_bytes(self) -> int:
        return self._weights_bytes if self.level == 1 else 0

    def start(self) -> None:
        self.card_bytes = self._whole_bytes

    def end(self) -> None:
        self.card_bytes = self.level = 0

    def refusal(self) -> str | None:
        if self._args.get("can_sleep"):
            return None
        return (
            "This scripted engine cannot sleep; right would be `can_sleep: true` among its engine "
            "arguments."
        )

    async def begin(self, level: int) -> None:
        """Raises EngineUnavailable where it cannot, or was told to fail."""
        if refusal := self.refusal():
            raise EngineUnavailable(refusal)
        await self._way("sleep")
        self.level, self.card_bytes = level, 0

    async def finish(self) -> None:
        """Raises EngineUnavailable where it was told to fail."""
        if not self.level:
            return
        await self._way("wake")
        self.level, self.card_bytes = 0, self._whole_bytes
        self.is_changed = bool(self._args.get("differs_after_wake"))

    async def _way(self, name: str) -> None:
        await asyncio.sleep(self._args.get(f"{name}_s", 0))
        if self._args.get(f"hang_{name}"):
            await asyncio.Event().wait()
        if reason := self._args.get(f"fail_{name}"):
            raise EngineUnavailable(str(reason))
