"""All that a head may ask of a node, by name."""

from collections.abc import Mapping
from typing import Any

from engines.joined.tasks import Task


def node_tasks() -> Mapping[str, Task]:
    return {**TASKS}


async def _echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """What it was given: whether and how fast it answers at all."""
    return arguments


TASKS: Mapping[str, Task] = {"echo": _echo}
"""Those that need nothing of the node."""
