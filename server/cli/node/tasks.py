"""All that a head may ask of a node, by name."""

from collections.abc import Mapping
from typing import Any

from engines.joined.tasks import Task
from engines.probing.prober import Prober
from engines.vllm.headless.parts import HeadlessParts


def node_tasks(
    parts: HeadlessParts | None = None, prober: Prober | None = None
) -> Mapping[str, Task]:
    """`parts`: what runs there; None: nothing does. `prober`: tells of the machine; None: none."""
    of_parts = {} if parts is None else parts.tasks
    return {**TASKS, **of_parts, **({} if prober is None else prober.tasks())}


async def _echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What it was given: whether and how fast it answers at all."""
    return arguments


TASKS: Mapping[str, Task] = {"echo": _echo}
"""Those that need nothing of the node."""
