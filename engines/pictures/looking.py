"""Pictures decoded apart before anything else has them, in a process that is ended when one takes
too long or too much memory. What it decoded unharmed, an engine decodes again for its model."""

import hashlib
from collections import OrderedDict
from threading import Lock

import msgspec

from engines.base import EngineOverloaded
from engines.content import Picture
from engines.host.confined import bare_environment
from engines.host.warm_child import ChildEnded, ChildNotStarted, TookTooLong, WarmChild
from engines.pictures.bounds import MOST_PIXELS_TOGETHER
from engines.pictures.child import MOST_CPU_S as CHILD_CPU_S
from engines.pictures.opening import Unreadable, check_room

MOST_CPU_S = 5.0
_MODULE = "engines.pictures.child"
_MOST_REMEMBERED = 10_000
_NOT_NOW = "Pictures cannot be read now; right would be the same request a little later."


class PictureLooker:
    """One server's. All of it blocks; several threads ask it in turn."""

    def __init__(self, module: str = _MODULE) -> None:
        self._child = WarmChild(
            module, [], environment=bare_environment(), most_life_cpu_s=CHILD_CPU_S / 2
        )
        self._sizes: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By the digest: a conversation brings the same picture with each turn."""
        self._lock = Lock()

    def __call__(
        self, data: bytes, *, is_low: bool = False, room: int = MOST_PIXELS_TOGETHER
    ) -> Picture:
        """One of at most `room` pixels. Raises Unreadable, EngineOverloaded while there is no
        child."""
        key = hashlib.sha256(data).hexdigest()
        with self._lock:
            size = self._sizes.get(key)
            if size is not None:
                self._sizes.move_to_end(key)
        if size is None:
            size = self._size(data, room)
            self._remember(key, size)
        check_room(*size, room)
        return Picture(data, *size, is_low=is_low, sha256=key)

    def close(self) -> None:
        """Blocks until nothing of it is left. Idempotent."""
        self._child.close()

    def _size(self, data: bytes, room: int) -> tuple[int, int]:
        try:
            question = msgspec.json.encode({"data": data, "room": room})
            seen = self._child.ask(question, MOST_CPU_S)
        except TookTooLong:
            raise Unreadable(
                f"takes more than {MOST_CPU_S:g} s to decode; right would be a smaller one"
            ) from None
        except ChildEnded:
            raise Unreadable("cannot be decoded; right would be another file of it") from None
        except ChildNotStarted as error:
            raise EngineOverloaded(_NOT_NOW, 10) from error
        if "unreadable" in seen:
            raise Unreadable(seen["unreadable"])
        return seen["width"], seen["height"]

    def _remember(self, key: str, size: tuple[int, int]) -> None:
        with self._lock:
            self._sizes[key] = size
            if len(self._sizes) > _MOST_REMEMBERED:
                self._sizes.popitem(last=False)
