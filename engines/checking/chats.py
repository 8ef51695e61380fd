"""The chats that a template is tried with: each a form that clients send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from engines.answers.system_messages import leading_as_one
from engines.base import PromptEnd, Tool

Message: TypeAlias = Mapping[str, Any]

RULE, RULE_TOO, RULE_LATER = "Answer in one word.", "Be polite.", "Now answer in French."
QUESTION, ANSWER, QUESTION_TOO = "What is the capital of Norway?", "Oslo", "And of Denmark?"
RESULT, RESULT_TOO = "rain in the north", "sun in the south"
WEATHER = Tool(
    name="get_weather",
    description="The weather of a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedChat:
    """`shows`: what must stand in the prompt. `is_plain`: without tools, so that a template that
    refuses it serves no chat."""

    id: str
    name: str
    messages: Sequence[Message]
    shows: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    end: PromptEnd = "answer"
    is_plain: bool = True

    @property
    def has_system(self) -> bool:
        """Some templates know no such role, and are fine without."""
        return any(message["role"] == "system" for message in self.messages)


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _called(*cities: str) -> Message:
    calls = [
        {
            "id": f"call_{index:024}",
            "type": "function",
            "function": {"name": WEATHER.name, "arguments": f'{{"city": "{city}"}}'},
        }
        for index, city in enumerate(cities)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _result(index: int, content: str) -> Message:
    return {
        "role": "tool",
        "content": content,
        "tool_call_id": f"call_{index:024}",
        "name": WEATHER.name,
    }


_USER, _SYSTEM = _said("user", QUESTION), _said("system", RULE)
_TURNS = (_USER, _said("assistant", ANSWER), _said("user", QUESTION_TOO))
_ONE_CALL = (_USER, _called("Tromsø"), _result(0, RESULT))

USER = TriedChat(id="user", name="a user's message", messages=(_USER,), shows=(QUESTION,))
UNOPENED = TriedChat(id="unopened", name=USER.name, messages=(_USER,), end="message")
ASSISTANT = TriedChat(
    id="assistant",
    name="an assistant's answer",
    messages=_TURNS,
    shows=(QUESTION, ANSWER, QUESTION_TOO),
)
ENDED = TriedChat(id="ended", name=ASSISTANT.name, messages=_TURNS[:2], end="message")
UNSEEN = (UNOPENED, ENDED)
"""Those that show how answers open and end, and are no finding of their own."""
PLAIN = (
    USER,
    *UNSEEN,
    TriedChat(
        id="system", name="a system message", messages=(_SYSTEM, _USER), shows=(RULE, QUESTION)
    ),
    ASSISTANT,
    TriedChat(
        id="systems",
        name="several system messages",
        messages=leading_as_one([dict(_SYSTEM), {**_said("system", RULE_TOO)}, dict(_USER)]),
        shows=(RULE, RULE_TOO, QUESTION),
    ),
    TriedChat(
        id="later_system",
        name="a later system message",
        messages=(_SYSTEM, *_TURNS[:2], _said("system", RULE_LATER), _TURNS[2]),
        shows=(RULE, RULE_LATER, QUESTION_TOO),
    ),
)
PARTS = TriedChat(
    id="parts",
    name="content in parts",
    messages=({"role": "user", "content": [{"type": "text", "text": QUESTION}]},),
    shows=(QUESTION,),
)
WITH_TOOLS = (
    TriedChat(
        id="tools",
        name="tools on offer",
        messages=(_USER,),
        shows=(WEATHER.name, QUESTION),
        tools=(WEATHER,),
        is_plain=False,
    ),
    TriedChat(
        id="tool_call",
        name="a tool call",
        messages=_ONE_CALL[:2],
        shows=(WEATHER.name, "Troms"),
        tools=(WEATHER,),
        end="message",
        is_plain=False,
    ),
    TriedChat(
        id="two_calls",
        name="two calls in one message",
        messages=(
            _USER,
            _called("Tromsø", "Bergen"),
            _result(0, RESULT),
            _result(1, RESULT_TOO),
        ),
        shows=("Troms", "Bergen", RESULT, RESULT_TOO),
        tools=(WEATHER,),
        is_plain=False,
    ),
    TriedChat(
        id="tool_result",
        name="a tool's result",
        messages=(*_ONE_CALL, _said("assistant", ANSWER), _said("user", QUESTION_TOO)),
        shows=(RESULT, ANSWER, QUESTION_TOO),
        tools=(WEATHER,),
        is_plain=False,
    ),
)
