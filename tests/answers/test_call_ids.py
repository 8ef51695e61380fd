"""Ids of tool calls: as the model's template wants them, whoever made the call."""

import re
from typing import Any

import pytest

from engines.answers.call_ids import CallIds, with_known_ids
from engines.answers.forced_calls import ForcedCalls
from engines.answers.model_tools import ModelTools
from engines.base import FOUND, GenerateRequest, InvalidRequest, Sampling, Tool
from engines.llamacpp.chat_template import ChatTemplate

NINE = re.compile(r"[A-Za-z0-9]{9}")


def called(*calls: tuple[str, str]) -> dict[str, Any]:
    made = [{"id": id, "type": "function", "function": {"name": name}} for id, name in calls]
    return {"role": "assistant", "content": "", "tool_calls": made}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "content": "x", "tool_call_id": call_id}


TALK: list[dict[str, Any]] = [
    {"role": "user", "content": "Oslo?"},
    called(("call_a", "weather"), ("call_b", "time")),
    result("call_b"),
    result("call_a"),
    {"role": "assistant", "content": "Rain."},
    called(("call_a", "time")),
    result("call_a"),
]


def ids(messages: Any) -> list[Any]:
    """In order: a message's calls, or what a result is of."""
    return [
        [call["id"] for call in message["tool_calls"]]
        if "tool_calls" in message
        else message["tool_call_id"]
        for message in messages
        if message.keys() & {"tool_calls", "tool_call_id"}
    ]


def test_kimi_counts_the_calls_of_a_conversation() -> None:
    weather, time, again = "functions.weather:0", "functions.time:1", "functions.time:2"
    found = with_known_ids(TALK, ("kimi_k2", None))
    assert ids(found) == [[weather, time], time, weather, [again], again]
    assert with_known_ids(found, (None, "kimi_k2")) == found


def test_mistrals_have_nine_letters_and_digits_and_stay_the_same() -> None:
    found = with_known_ids(TALK, ("mistral",))
    [a, b], of_b, of_a, [last], of_last = ids(found)
    assert (of_b, of_a, of_last, last) == (b, a, a, a)
    assert NINE.fullmatch(a)
    assert NINE.fullmatch(b)
    assert a != b
    assert with_known_ids(found, ("mistral",)) == found


@pytest.mark.parametrize("parser", ["hermes", "deepseek_v3", None])
def test_other_models_take_any(parser: str | None) -> None:
    assert with_known_ids(TALK, (parser, None)) == TALK


def test_a_result_of_no_call_keeps_its_id() -> None:
    assert ids(with_known_ids([result("call_z")], ("kimi_k2",))) == ["call_z"]


def asked(parser: str, choice: str) -> GenerateRequest:
    return GenerateRequest(
        request_id="r",
        sampling=Sampling(max_tokens=1),
        messages=TALK,
        tools=(Tool(name="weather"), Tool(name="time")),
        tool_parser=parser,
        tool_choice=choice,
    )


@pytest.mark.parametrize(
    ("parser", "form"),
    [
        ("kimi_k2", r"functions\.(weather:3|time:4)"),
        ("mistral", NINE.pattern),
        ("hermes", "call_[0-9a-f]{24}"),
    ],
)
def test_a_forced_call_has_an_id_that_its_model_knows(parser: str, form: str) -> None:
    said = '[{"name": "weather", "arguments": {}}, {"name": "time", "arguments": {"a": "[1]"}}]'
    made = [call.id for call in ForcedCalls(asked(parser, "required")).feed(said) if call.id]
    named = [c.id for c in ForcedCalls(asked(parser, "function:weather")).feed("{}") if c.id]
    assert len(set(made)) == 2
    assert len(named) == 1
    assert all(re.fullmatch(form, each) for each in (*made, *named))


def test_an_id_is_new_for_each_request() -> None:
    request = asked("mistral", "auto")
    assert len({CallIds(request).new("weather", 0) for _ in range(20)}) == 20


MISTRAL = (
    "{% for m in messages %}{% for c in m.tool_calls or [] %}{% if c.id | length != 9 %}"
    "{{ raise_exception('nine') }}{% endif %}[TOOL_CALLS]{{ c.id }}{% endfor %}"
    "{% if m.role == 'tool' %}{% if m.tool_call_id | length != 9 %}{{ raise_exception('nine') }}"
    "{% endif %}[TOOL_RESULTS]{{ m.tool_call_id }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("parser", [FOUND, "mistral", "hermes", None])
def test_a_template_that_wants_nine_letters_gets_them_whatever_parser_is_named(
    parser: str | None,
) -> None:
    """Also without `tools`, and with calls that we or others gave ids."""
    tools, template = ModelTools(MISTRAL, lambda token: True), ChatTemplate(MISTRAL, {})
    request = GenerateRequest(
        request_id="r", sampling=Sampling(max_tokens=1), messages=TALK, tool_parser=parser
    )
    text = template.render(tools.messages(tools.with_parser(request)))
    assert [text.count(mark) for mark in ("[TOOL_CALLS]", "[TOOL_RESULTS]")] == [3, 3]
    with pytest.raises(InvalidRequest, match="nine"):
        template.render(TALK)
