"""Grammars compiled apart before llama.cpp has them, in a process that is ended when one takes too
long or too much memory: llama.cpp compiles between two tokens of all streams."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock, Thread

from engines.base import EngineDead, EngineOverloaded
from engines.host.confined import bare_environment
from engines.host.warm_child import NOT_NOW, ChildEnded, ChildNotStarted, TookTooLong, WarmChild
from engines.llamacpp.llguidance import Complaint

log = logging.getLogger("fjord.llamacpp")

MOST_COMPILE_S = 0.05
"""Of CPU time: what all streams may wait for one client's grammar."""
_ENDED_AFTER_S = 0.5
"""Whoever is over that is not waited for; the child is ended and another started."""
_MODULE = "engines.llamacpp.form_trial_child"
_SHORT_CHARACTERS = 120
"""Such a one is asked about in this process: form_bounds keeps it cheap."""
_MOST_REMEMBERED = 10_000
_RIGHT = "right would be fewer or shorter lengths, counts, choices and patterns"


class FormTrial:
    """A Complaint that costs nobody else's stream. All of it blocks."""

    def __init__(self, extension_path: str, complaint: Complaint) -> None:
        self._child = WarmChild(_MODULE, [extension_path], environment=bare_environment())
        self._complaint = complaint
        self._verdicts: OrderedDict[bytes, str | None] = OrderedDict()
        self._lock = Lock()
        self._is_closed = False

    def warm(self) -> None:
        """Have the child ready; nobody waits for it."""
        Thread(target=self._begin, name="llama-forms-start", daemon=True).start()

    def _begin(self) -> None:
        try:
            self._child.begin()
        except ChildNotStarted as error:
            self._warn(error)

    def __call__(self, grammar: str, special_tokens: Sequence[str]) -> str | None:
        """Why llama.cpp may not have it; None: it may. Raises EngineDead once it is closed,
        EngineOverloaded while there is no child: here nothing would end what takes too long."""
        if len(grammar) <= _SHORT_CHARACTERS:
            return self._complaint(grammar, special_tokens)
        key = hashlib.sha256(json.dumps([grammar, *special_tokens]).encode()).digest()
        with self._lock:
            if key in self._verdicts:
                return self._verdicts[key]
        verdict = self._tried(grammar, special_tokens)
        with self._lock:
            self._verdicts[key] = verdict
            if len(self._verdicts) > _MOST_REMEMBERED:
                self._verdicts.popitem(last=False)
        return verdict

    def _tried(self, grammar: str, special_tokens: Sequence[str]) -> str | None:
        question = {"grammar": grammar, "special_tokens": list(special_tokens)}
        try:
            outcome = self._child.ask(question, _ENDED_AFTER_S)
        except TookTooLong:
            return _too_long()
        except (ChildNotStarted, ChildEnded) as error:
            if self._is_closed:
                raise EngineDead("The engine was stopped.") from error
            if isinstance(error, ChildNotStarted):
                self._warn(error)
                raise EngineOverloaded(NOT_NOW, 10) from error
            return f"it needs too much memory; {_RIGHT}"
        if outcome["compile_s"] > MOST_COMPILE_S and not outcome["complaint"]:
            return _too_long()
        complaint: str | None = outcome["complaint"]
        return complaint

    def _warn(self, error: Exception) -> None:
        if not self._is_closed:
            log.warning("no process that compiles forms; they are refused meanwhile: %r", error)

    def close(self) -> None:
        """Blocks until nothing of it is left. Idempotent."""
        self._is_closed = True
        self._child.close()


def _too_long() -> str:
    return f"it takes more than {MOST_COMPILE_S:g} s of processor time; {_RIGHT}"
