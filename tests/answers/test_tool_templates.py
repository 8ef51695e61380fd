"""Our own chat templates: tools are shown where the published template has no place for them."""

from typing import Any

import pytest

from engines.answers.tool_templates import tool_template
from engines.base import GenerateRequest, Sampling, Tool
from engines.llamacpp.chat_template import ChatTemplate
from engines.registry.registry import load_registry
from tests.support.paths import ROOT

PUBLISHED = "{% for message in messages %}{{ message.tool_calls }}{% endfor %}"
"""Speaks of calls, as DeepSeek's does, and never of tools."""
BEGIN, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
END = "<｜end▁of▁sentence｜>"
WEATHER = Tool(name="weather", description="Now.", parameters={"type": "object"})
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"a": "å"}'}}
CALLED = (
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n"
    '```json\n{"a": "å"}\n```<｜tool▁call▁end｜>'
)
CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CITY: list[dict[str, Any]] = [{"role": "user", "content": "Oslo?"}]


def asked(**fields: Any) -> GenerateRequest:
    given = {"messages": CITY, "tools": (WEATHER,), "tool_parser": "deepseek_v3"} | fields
    return GenerateRequest(request_id="r", sampling=Sampling(max_tokens=1), **given)


def rendered(messages: list[dict[str, Any]], *tools: Tool) -> str:
    source = tool_template(asked(), PUBLISHED)
    assert source is not None
    return ChatTemplate(source, {"bos_token": BEGIN, "eos_token": END}).render(messages, tools)


@pytest.mark.parametrize(
    ("fields", "published"),
    [
        ({"tools": ()}, PUBLISHED),
        ({"tool_parser": None}, PUBLISHED),
        ({"tool_parser": "hermes"}, PUBLISHED),
        ({}, "{% if tools %}{{ tools | tojson }}{% endif %}"),
    ],
    ids=["no tools", "no parser", "none of ours", "the published one shows tools"],
)
def test_the_published_template_stays_where_it_can(fields: dict[str, Any], published: str) -> None:
    assert tool_template(asked(**fields), published) is None


@pytest.mark.parametrize("published", [PUBLISHED, None, {"default": PUBLISHED}])
def test_a_template_without_tools_gives_way_to_ours(published: object) -> None:
    assert tool_template(asked(), published) is not None


@pytest.mark.parametrize("content", [None, "", "I look."])
def test_calls_of_the_history_are_shown_though_the_request_brings_no_tools(
    content: str | None,
) -> None:
    talk = [*CITY, {"role": "assistant", "content": content, "tool_calls": [CALL]}]
    answered = [*talk, {"role": "tool", "tool_call_id": "c", "content": "rain"}]
    for messages in (talk, answered, answered[2:]):
        assert tool_template(asked(messages=messages, tools=()), PUBLISHED) is not None
    assert tool_template(asked(messages=answered, tools=(), tool_parser=None), PUBLISHED) is None


def test_the_tools_are_shown_with_the_form_of_a_call() -> None:
    system = [{"role": "system", "content": "Be kind."}]
    text = rendered([*system, *CITY], WEATHER)
    assert text.startswith(f"{BEGIN}Be kind.\n\n## Tools\n")
    assert '### weather\nNow.\nParameters (JSON schema): {"type": "object"}\n' in text
    assert f"{CALLS_BEGIN}<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME\n```json\n" in text
    assert text.endswith(f"{USER}Oslo?{ASSISTANT}")


def test_what_has_no_tools_is_as_published() -> None:
    """Word for word what DeepSeek-V3's published template makes of it."""
    talk = [
        {"role": "system", "content": "One."},
        {"role": "system", "content": "Two."},
        *CITY,
        {"role": "assistant", "content": "Rain.\n"},
        {"role": "user", "content": " And now?"},
    ]
    wanted = f"{BEGIN}One.\n\nTwo.{USER}Oslo?{ASSISTANT}Rain.\n{END}{USER} And now?{ASSISTANT}"
    assert rendered(talk) == wanted


@pytest.mark.parametrize("content", [None, "", "<think>Hm.</think>"])
def test_calls_and_their_answers_are_written_as_the_model_knows_them(content: str | None) -> None:
    talk: list[dict[str, Any]] = [
        *CITY,
        {"role": "assistant", "content": content, "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "rain"},
        {"role": "tool", "tool_call_id": "c", "content": "snow"},
    ]
    begun = f"{BEGIN}{USER}Oslo?{ASSISTANT}{CALLS_BEGIN}{CALLED}\n{CALLED}{CALLS_END}{END}"
    told = "\n".join(
        f"<｜tool▁output▁begin｜>{said}<｜tool▁output▁end｜>" for said in ("rain", "snow")
    )
    answered = f"{begun}<｜tool▁outputs▁begin｜>{told}<｜tool▁outputs▁end｜>"
    assert rendered(talk) == answered
    done = [*talk, {"role": "assistant", "content": "Both."}, *CITY]
    assert rendered(done) == f"{answered}Both.{END}{USER}Oslo?{ASSISTANT}"


def test_the_shipped_registry_lets_both_deepseeks_call_tools() -> None:
    models = load_registry(ROOT / "model_registry.yaml", "cuda").models
    for alias in ("deepseek-v3", "deepseek-r1"):
        assert tool_template(asked(tool_parser=models[alias].tool_parser), PUBLISHED) is not None
    found = {alias for alias, model in models.items() if model.tool_parser is None}
    assert found == {"mixtral-8x7b"}
    assert {alias for alias, model in models.items() if not model.call_parser} == {"llamaguard-4"}
