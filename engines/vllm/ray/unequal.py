"""Whether a node's versions are this server's: an engine's halves speak vLLM's own language."""

from collections.abc import Mapping
from typing import Any

from engines.vllm.ray.wire import RayNode


def unequal(node: RayNode, here: Mapping[str, Any]) -> str | None:
    """Which node has what instead of what; None: they are equal."""
    found = [
        f"{name} {_short(name, there) or 'is missing'}, not {_short(name, here[key])}"
        for name, key in (("Python", "python"), ("Ray", "ray"), ("vLLM", "vllm"))
        if _short(name, there := node.facts.get(key)) != _short(name, here[key])
    ]
    if not found:
        return None
    return f"node {node.address} has another version than this server ({'; '.join(found)})"


def _short(name: str, version: str | None) -> str | None:
    """Of Python what its pickles and wheels go by."""
    return ".".join(version.split(".")[:2]) if version and name == "Python" else version
