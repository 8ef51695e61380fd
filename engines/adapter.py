"""What is laid over a model's weights."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import msgspec


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA that is laid over a model's weights. Exactly one of `path` and `source` is given."""

    name: str
    """Another one for other files: engines and their caches tell adapters apart by it."""
    path: str = ""
    """A folder of one's own, in PEFT's form."""
    source: str = ""
    """The hub's owner/name; where its files are, a FindAdapter says."""
    revision: str | None = None
    """The hub's commit, tag or branch; None: its main branch."""
    commit: str = ""
    """What that was on this disk when the registry was read; "": nothing of it was here."""

    @property
    def origin(self) -> str:
        """As records and logs have it."""
        return self.source or self.path


FindAdapter: TypeAlias = Callable[[Adapter], Awaitable[Path]]
"""Where its files are, fetched where need be. Raises EngineUnavailable, with nothing of
where they are."""


async def own_folder(adapter: Adapter) -> Path:
    """The FindAdapter of an engine that has no hub."""
    return Path(adapter.path)
