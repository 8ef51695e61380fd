"""A model's tool parser is found from what its chat template writes and its vocabulary holds."""

from typing import Any

import pytest

from engines.answers.model_tools import ModelTools
from engines.answers.tool_parsers import found_parser, template_text
from engines.base import FOUND, GenerateRequest, Sampling, Tool
from engines.registry.parsers import TOOL_PARSERS

PLAIN = "{% for message in messages %}<|im_start|>{{ message['content'] }}{% endfor %}"
QWEN = '{{ \'\\n<tool_call>\\n{"name": "\' }}{{ tool_call.name }}{% if tool_calls %}'
CODER = "{{ '\\n<tool_call>\\n<function=' + tool_call.name + '>\\n' }}"
LLAMA = "{{ 'Environment: ipython\\n' }}{{ '\"parameters\": ' }}{{ tool_call.arguments | tojson }}"
MISTRAL = '{{ "[TOOL_CALLS][" }}'
KIMI = "<|tool_calls_section_begin|>{% for call in message['tool_calls'] %}"
DEEPSEEK = "{{'<｜tool▁calls▁begin｜>' + tool['type'] + '\\n' + '```json'}}"
DEEPSEEK_31 = "{{'<｜tool▁calls▁begin｜>' + tool['name'] + '<｜tool▁sep｜>'}}"
GLM = "{{ '\\n<tool_call>' + tc.name }}<arg_key>{{ k }}</arg_key>"
WEATHER = Tool(name="get_weather", parameters={"type": "object", "properties": {}})


def every(text: str) -> bool:
    return True


def no(text: str) -> bool:
    return False


def request(**fields: Any) -> GenerateRequest:
    given: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "tools": (WEATHER,)}
    given |= {"tool_parser": FOUND} | fields
    return GenerateRequest(request_id="r", sampling=Sampling(max_tokens=9), **given)


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        (PLAIN, None),
        (QWEN, "hermes"),
        (CODER, "qwen3_coder"),
        (LLAMA, "llama3_json"),
        (MISTRAL, "mistral"),
        (KIMI, "kimi_k2"),
        (DEEPSEEK, "deepseek_v3"),
        (DEEPSEEK_31, "deepseek_v31"),
        (GLM, "glm45"),
        (None, "mistral"),
    ],
)
def test_a_parser_is_found_from_its_marks(template: str | None, parser: str | None) -> None:
    assert found_parser(template, every) == parser
    assert parser is None or parser in TOOL_PARSERS


@pytest.mark.parametrize("template", [MISTRAL, KIMI, DEEPSEEK, None])
def test_a_mark_that_must_be_a_token_is_one(template: str | None) -> None:
    assert found_parser(template, no) is None


def test_of_several_templates_all_are_read() -> None:
    assert found_parser(template_text({"default": PLAIN, "tool_use": QWEN}), no) == "hermes"
    assert template_text(None) is None


@pytest.mark.parametrize(
    ("template", "readable", "parser", "is_ours"),
    [
        (PLAIN, None, "hermes", True),
        (QWEN, None, "hermes", False),
        (CODER, None, "qwen3_coder", False),
        (CODER, {"hermes"}, "hermes", True),
    ],
)
def test_calls_are_asked_for_in_words_where_no_form_can_be_read(
    template: str, readable: Any, parser: str, is_ours: bool
) -> None:
    tools = ModelTools(template, every, readable)
    resolved = tools.with_parser(request())
    assert resolved.tool_parser == parser
    assert tools.are_asked_for(resolved) is is_ours
    assert tools.shown(resolved) == (() if is_ours else (WEATHER,))
    assert ("get_weather" in str(tools.messages(resolved))) is is_ours


def test_a_parser_that_the_registry_names_is_kept() -> None:
    tools = ModelTools(PLAIN, every)
    named = request(tool_parser="llama3_json")
    assert tools.with_parser(named) is named
    assert not tools.are_asked_for(named)


def test_tools_are_not_shown_where_none_may_be_called() -> None:
    tools = ModelTools(PLAIN, every)
    silent = tools.with_parser(request(tool_choice="none"))
    assert tools.messages(silent) == silent.messages
    assert tools.shown(silent) == ()
