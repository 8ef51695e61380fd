"""A scripted turn of a coding agent: a call a step, of a tool it offers, then closing words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import GenerateRequest, ToolCallDelta


def next_call(request: GenerateRequest, steps: Sequence[Mapping[str, Any]]) -> ToolCallDelta | None:
    """The call of the step that so many results of tools ask for; None behind the last step, and
    where no tool of the step is offered. A step is tools' names with their arguments."""
    number = sum(message["role"] == "tool" for message in request.messages or ())
    if number >= len(steps) or request.tool_choice == "none":
        return None
    offered = {tool.name for tool in request.tools}
    for name, arguments in steps[number].items():
        if name in offered:
            return ToolCallDelta(0, f"call_{number:08x}", name, json.dumps(arguments))
    return None
