"""Forms tried apart before the engine has them: compiled in a process that is ended when it takes
too long or too much memory, and written by for a few tokens. vLLM would compile for minutes, and
its engine's step waits for each token's mask."""

import asyncio
import hashlib
import json
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from engines.base import EngineDead, EngineOverloaded, EngineUnavailable, InvalidRequest
from engines.host.warm_child import NOT_NOW, ChildEnded, ChildNotStarted, TookTooLong, WarmChild
from engines.host.worker_threads import WorkerThreads
from engines.registry.spec import EngineSpec
from engines.vllm.json_grammar import json_grammar

log = logging.getLogger("fjord.vllm")

ARGUMENT = "form_compile_s"
"""The engine argument: CPU seconds that a form may take to compile."""
DEFAULT_COMPILE_S = 10.0
_MODULE = "engines.vllm.form_trial_child"
_WARMING = {"type": "string", "maxLength": 10_000}
"""xgrammar remembers masks by rule: after this one, a string of a length costs little."""
_WAIT_S = 30.0
_IDLE_S = 600.0
_MOST_REMEMBERED = 10_000
_CHEAP_CHARACTERS = 16_384
_COSTLY = re.compile(r"fjord_\d|\{\d{3,}|\{\d*,\d{3,}")
"""In a schema's grammar: strings with a pattern or a length, high counts."""


def compile_limit_s(args: Mapping[str, Any]) -> float:
    """Of an EngineSpec's. Raises EngineUnavailable for a value that is none."""
    limit = args.get(ARGUMENT, DEFAULT_COMPILE_S)
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= 600:
        message = f"{ARGUMENT} is {limit!r}; right would be seconds above 0, at most 600."
        raise EngineUnavailable(message)
    return float(limit)


def form_trials(llm: Any, spec: EngineSpec) -> "FormTrials | None":
    """Those of an AsyncLLM. None: it makes no answers, or its operator chose another backend than
    the one that the child asks."""
    config, backend = llm.model_config, llm.vllm_config.structured_outputs_config.backend
    if spec.task != "generate" or backend not in ("auto", "xgrammar"):
        return None
    place = {
        "path": config.tokenizer,
        "revision": config.tokenizer_revision,
        "trust_remote_code": config.trust_remote_code,
        "vocab_size": config.get_vocab_size(),
        "warming": json_grammar(_WARMING, "schema"),
    }
    return FormTrials(place, compile_limit_s(spec.args))


class FormTrials:
    """Those of one engine. `place` says where its tokenizer is, for the child, which is there from
    the first form that may cost much (5 s of CPU, 300 MB) until none came for `idle_s`."""

    def __init__(
        self, place: Mapping[str, Any], most_cpu_s: float, idle_s: float = _IDLE_S
    ) -> None:
        self._child = WarmChild(_MODULE, [json.dumps(place)])
        self._threads = WorkerThreads(1, "vllm-forms", in_short_turns=True)
        self._most_cpu_s = most_cpu_s
        self._verdicts: OrderedDict[bytes, str | None] = OrderedDict()
        self._is_closed = False
        self._idle_s = idle_s
        self._rest: asyncio.TimerHandle | None = None

    async def check(self, outputs: Any, field: str, is_schema: bool) -> None:
        """`outputs`: vLLM's StructuredOutputsParams; `is_schema`: we made its grammar of a schema.
        Raises InvalidRequest, and EngineOverloaded where others' forms take the time or no child
        starts: in the engine nothing would end what takes too long."""
        form = _form(outputs)
        if form is None or (is_schema and _is_cheap(form["text"])):
            return
        key = hashlib.sha256(json.dumps(form).encode()).digest()
        if key not in self._verdicts:
            self._remember(key, await self._verdict(form))
        if complaint := self._verdicts[key]:
            raise InvalidRequest(f"{field} {complaint}", field)

    async def _verdict(self, form: Mapping[str, str]) -> str | None:
        asked = asyncio.ensure_future(self._threads(self._tried, form))
        done, _ = await asyncio.wait([asked], timeout=_WAIT_S + 6 * self._most_cpu_s)
        if not done:
            asked.cancel()
            raise EngineOverloaded("Other requests' forms are being compiled.", 10)
        self._rest_later()
        return asked.result()

    def _rest_later(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(self._idle_s, loop.run_in_executor, None, self._child.rest)

    def _tried(self, form: Mapping[str, str]) -> str | None:
        """Why the engine may not have it; None: it may. Blocks."""
        try:
            outcome = self._child.ask(form, self._most_cpu_s)
        except TookTooLong:
            return _too_long(self._most_cpu_s)
        except (ChildNotStarted, ChildEnded) as error:
            if self._is_closed:
                raise EngineDead("The engine was stopped.") from error
            if isinstance(error, ChildNotStarted):
                self._warn(error)
                raise EngineOverloaded(NOT_NOW, 10) from error
            return f"needs too much memory to compile; {_RIGHT}"
        return _complaint(outcome)

    def _remember(self, key: bytes, complaint: str | None) -> None:
        self._verdicts[key] = complaint
        if len(self._verdicts) > _MOST_REMEMBERED:
            self._verdicts.popitem(last=False)

    def _warn(self, error: Exception) -> None:
        if not self._is_closed:
            log.warning("no process that compiles forms; they are refused meanwhile: %r", error)

    def close(self) -> None:
        """Blocks until nothing of it is left. Idempotent."""
        self._is_closed = True
        self._child.close()
        self._threads.close()


def _form(outputs: Any) -> dict[str, str] | None:
    """What xgrammar gets; None where there is nothing of a client's in it."""
    for kind in ("regex", "grammar", "structural_tag"):
        if text := getattr(outputs, kind):
            return {"kind": kind, "text": text}
    if outputs.choice:
        return {"kind": "choice", "text": json.dumps(outputs.choice)}
    return None


def _is_cheap(grammar: str) -> bool:
    """Whether a schema's grammar compiles within 100 ms, whatever it says."""
    return len(grammar) <= _CHEAP_CHARACTERS and not _COSTLY.search(grammar)


_RIGHT = "right would be fewer or shorter lengths, counts and patterns."


def _too_long(seconds: float) -> str:
    return f"takes more than {seconds:g} s to compile; {_RIGHT}"


def _complaint(outcome: Mapping[str, Any]) -> str | None:
    if "error" in outcome:
        return f"cannot be compiled: {outcome['error']}"
    if "step_s" in outcome:
        cost_ms = 1000 * outcome["step_s"]
        return f"takes {cost_ms:.0f} ms a token to follow: it is too ambiguous; {_RIGHT}"
    return None
