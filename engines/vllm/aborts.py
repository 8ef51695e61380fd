"""Which requests were told to end: any other that vLLM aborts has lost its engine."""

from engines.base import Delta, EngineDead


class Aborts:
    """Of one engine's running requests. vLLM aborts some by itself: when one of several
    data-parallel processes dies, it takes the others down, and what runs on them ends so."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._asked: set[str] = set()

    def begun(self, request_id: str) -> None:
        self._running.add(request_id)

    def ended(self, request_id: str) -> None:
        self._running.discard(request_id)
        self._asked.discard(request_id)

    def asked(self, request_id: str) -> None:
        """Somebody wants it to end; unknown ids are ignored."""
        if request_id in self._running:
            self._asked.add(request_id)

    def check(self, request_id: str, delta: Delta) -> None:
        """Raises EngineDead for an abort that nobody asked for."""
        if delta.finish_reason == "abort" and request_id not in self._asked:
            raise EngineDead("vLLM aborted the request by itself: a process of its engine ends.")
