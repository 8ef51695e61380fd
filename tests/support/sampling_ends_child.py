"""Runs as a process of its own: every sampling field of one engine at both ends of its range, with
a gibibyte of memory beyond the loaded model. Writes what came of each to stdout, as JSON, and for
how long a collection of garbage kept the interpreter while the engine started.

`python -m tests.support.sampling_ends_child ENGINE FOLDER`
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from engines.base import Engine, InvalidRequest
from tests.support.engine_fixtures import CASES, answer, ask

ROOM_BYTES = 2**30
ENDS: dict[str, tuple[Any, ...]] = {
    "max_tokens": (1, 40),
    "min_tokens": (0, 3),
    "temperature": (0.0, 1e-5, 2.0),
    "top_p": (1e-7, 1.0),
    "top_k": (0, 1, 2**31 - 1),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repetition_penalty": (0.01, 10.0),
    "seed": (-(2**63), -1, 0, 2**32 - 1, 2**63 - 1),
    "n": (1, 16),
    "stop": ((), ("never said",) * 16),
    "ignore_eos": (False, True),
    "logprobs": (0, 20),
    "logit_bias": ({0: -100.0}, {200: 100.0}, dict.fromkeys(range(200), 1.0), {2**31: 1.0}),
}


async def outcome(engine: Engine, field: str, value: Any) -> str:
    sampling = {"max_tokens": 3, "temperature": 1.0} | {field: value}
    try:
        deltas = await answer(engine, ask(**sampling))
    except InvalidRequest as error:
        return f"refused {error.param}: {error}"
    except Exception as error:
        return repr(error)
    return "answered" if deltas[-1].finish_reason in ("stop", "length") else "unfinished"


class Collections:
    """How long this process' collections of garbage kept its interpreter, in processor time."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._began_s = 0.0
        gc.callbacks.append(self._met)

    def _met(self, phase: str, facts: dict[str, int]) -> None:
        if phase == "start":
            self._began_s = time.thread_time()
        else:
            self.longest_s = max(self.longest_s, time.thread_time() - self._began_s)


async def main(name: str, folder: Path) -> None:
    engine = next(case for case in CASES if case.name == name).make(folder)
    collections = Collections()
    await engine.start()
    longest_s = collections.longest_s
    before = psutil.Process().memory_info()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (before.vms + ROOM_BYTES,) * 2)
    outcomes = {
        f"{field}={str(value)[:20]}": await outcome(engine, field, value)
        for field, values in ENDS.items()
        for value in values
    }
    await engine.check(10)
    grown = psutil.Process().memory_info().rss - before.rss
    await engine.stop()
    told = {"outcomes": outcomes, "grown_bytes": grown, "longest_collection_s": longest_s}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
