"""OpenAI's form of a tool, in which chat templates and vLLM's parsers read it."""

from typing import Any

from engines.base import Tool


def openai_tool(tool: Tool) -> dict[str, Any]:
    """{"type": "function", "function": {name, description (where it has one), parameters}}"""
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = dict(tool.parameters)
    return {"type": "function", "function": function}
