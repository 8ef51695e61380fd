"""A prober as an actor of Ray on another machine, to which Ray carries this package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.probing.channel import ProbeFailed, answered
from engines.probing.prober import Prober
from engines.probing.told import told_here


class RayProber:
    """`fjord`: the version that asks, which is the one that came here."""

    def __init__(self, name: str, fjord: str, data_dir: str) -> None:
        self._tasks = Prober(lambda: told_here(name, fjord), Path(data_dir)).tasks()

    async def ask(
        self, task: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """`result`, or why it `failed`: an exception of ours could not be read there."""
        try:
            answer = await answered(self._tasks, task, arguments, timeout_s)
        except ProbeFailed as error:
            return {"failed": str(error)}
        return {"result": dict(answer)}
