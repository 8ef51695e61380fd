"""Tools in words: for models whose chat template has no place for them.

The functions stand in the system message, calls and their answers are text. Any template can
render that; the form is the hermes parser's, which many models have seen in training.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.answers.openai_tools import openai_tool
from engines.answers.tool_history import with_read_arguments
from engines.base import Tool
from engines.content import joined

_TOOLS = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

{form}"""
_FORMS = {
    "auto": """For each function call, return a json object with function name and arguments \
within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>
Where no function helps, answer as usual.""",
    "required": """Call what helps: answer with a json array of the calls and nothing else:
[{"name": <function-name>, "arguments": <args-json-object>}]""",
}
"""tool_choice -> how calls are written; a forced one is held to its form by a grammar."""
_NAMED = "Call {name}: answer with its arguments as a json object and nothing else."


def tools_in_words(tools: Sequence[Tool], choice: str) -> str:
    """`choice` is a request's tool_choice."""
    signatures = "\n".join(_json(openai_tool(tool)) for tool in tools)
    form = _FORMS.get(choice) or _NAMED.format(name=choice.removeprefix("function:"))
    return _TOOLS.format(tools=signatures, form=form)


def instructed(
    messages: Sequence[Mapping[str, Any]], words: str, role: str
) -> list[Mapping[str, Any]]:
    """`words` joined to the first message, where it is of `role`; else a message of their own."""
    if messages and messages[0]["role"] == role:
        first, rest = messages[0], messages[1:]
        said = first.get("content")
        if not said:
            return [{**first, "content": words}, *rest]
        before, after = (said, words) if role == "system" else (words, said)
        return [{**first, "content": joined(before, "\n\n", after)}, *rest]
    return [{"role": role, "content": words}, *messages]


def calls_in_words(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Calls as an assistant's text, what tools said as a user's; turns go on alternating. Raises
    InvalidRequest where arguments are nested too deeply."""
    said: list[Mapping[str, Any]] = []
    follows_tool = False
    for message in messages:
        worded = _worded(message)
        if follows_tool and worded["role"] == "user":
            content = joined(said.pop()["content"], "\n", worded["content"])
            worded = {**worded, "content": content}
        said.append(worded)
        follows_tool = message["role"] == "tool" or (follows_tool and worded["role"] == "user")
    return said


def has_calls(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(m["role"] == "tool" or m.get("tool_calls") for m in messages)


def _worded(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if message["role"] == "tool":
        content = joined("<tool_response>\n", "", message.get("content") or "")
        content = joined(content, "", "\n</tool_response>")
        return {"role": "user", "content": content}
    if not message.get("tool_calls"):
        return message
    plain = {key: value for key, value in message.items() if key != "tool_calls"}
    return plain | {"content": "\n".join(_parts(with_read_arguments(message)))}


def _parts(message: Mapping[str, Any]) -> Iterator[str]:
    if content := message.get("content"):
        yield content
    for call in message["tool_calls"]:
        function = {key: call["function"][key] for key in ("name", "arguments")}
        yield f"<tool_call>\n{_json(function)}\n</tool_call>"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
