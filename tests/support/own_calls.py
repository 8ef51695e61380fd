"""A model that a form makes call in its own format, so that an engine has calls to read."""

import json

from engines.base import Engine, Structure, Tool
from tests.support.engine_fixtures import answer, ask, ends, text

CITY = Tool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"$ref": "#/$defs/city"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"city": {"enum": ["Oslo", "Bergen"]}},
    },
)
TIME = Tool(name="get_time", parameters={"type": "object", "properties": {"zone": {"const": 1}}})
_ONE_CALL = (
    r'<tool_call>\n\{"name": "get_weather", "arguments": \{"city": "[a-z]{3,9}"\}\}\n</tool_call>'
)


async def assert_own_calls_are_read(
    engine: Engine, parser: str, is_parallel: bool, stream: bool
) -> None:
    """Two calls, of which the second is dropped where one is allowed."""
    request = ask(
        tools=(CITY, TIME),
        tool_parser=parser,
        parallel_tool_calls=is_parallel,
        structure=Structure(kind="regex", value=_ONE_CALL + r"\n" + _ONE_CALL),
        max_tokens=400,
        stream=stream,
    )
    deltas = await answer(engine, request)
    calls: dict[int, str] = {}
    for piece in (piece for delta in deltas for piece in delta.tool_calls):
        calls[piece.index] = calls.get(piece.index, "") + piece.arguments
    assert sorted(calls) == ([0, 1] if is_parallel else [0])
    assert all(set(json.loads(arguments)) == {"city"} for arguments in calls.values())
    assert text(deltas).strip() == ""
    assert ends(deltas) == {0: ["tool_calls"]}
