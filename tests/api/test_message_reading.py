"""What the turns of /v1/messages are read as, and that long ones take no more than their length."""

import time
from typing import Any

from server.api.messages.wire import MESSAGES

ASK: dict[str, Any] = {
    "model": "m",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hei på deg"}],
}


def test_a_long_conversation_is_read_in_time_with_its_length() -> None:
    turn = {"role": "user", "content": "x" * 900}
    thought = {"type": "thinking", "thinking": "y" * 900, "signature": ""}
    turns = [*[turn] * 4000, {"role": "assistant", "content": [thought] * 4000}, turn]
    began = time.thread_time()
    wire = MESSAGES.validate_python(ASK | {"messages": turns})
    assert time.thread_time() - began < 1.0
    assert [message["role"] for message in wire.read] == ["user", "assistant", "user"]
    assert len(wire.read[0]["content"]) == 4000 * 902 - 2
    assert wire.read[1]["reasoning_content"] == "y" * 900 * 4000


def test_what_a_conversation_is_read_as() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    failed = {"type": "tool_result", "tool_use_id": "t1", "content": "gone", "is_error": True}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, call]},
        {"role": "user", "content": [failed, {"type": "text", "text": "c"}]},
        {"role": "system", "content": "d"},
        {"role": "user", "content": ""},
    ]
    wire = MESSAGES.validate_python(ASK | {"messages": turns, "system": "s"})
    function = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert wire.read == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a\n\nb"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
            "reasoning_content": "hm",
            "reasoning": "hm",
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Error: gone"},
        {"role": "user", "content": "c"},
        {"role": "system", "content": "d"},
        {"role": "user", "content": ""},
    ]
