"""What is not rendered plainly: it goes vLLM's way, or is refused."""

import copy
import inspect
from pathlib import Path
from typing import Any

import pytest

from engines.base import FOUND, InvalidRequest
from engines.testing.tiny import TEMPLATE
from engines.vllm.plain_render import rust_tokenizer
from tests.support import plain_renderers
from tests.support.plain_renderers import (
    HI,
    WEATHER,
    Chat,
    Counting,
    chat,
    outcome,
    tiny,
    without_time,
)

NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system!') }}{% endif %}"
CALL = {"type": "function", "id": "1", "function": {"name": "get_weather", "arguments": "{}"}}

pytestmark = pytest.mark.vllm
made, renderer = plain_renderers.made, plain_renderers.renderer
plain, tiny_renderer = plain_renderers.plain, plain_renderers.tiny_renderer

NOT_PLAIN: dict[str, Chat] = {
    "a name": [HI | {"name": "Kari"}],
    "a list": [HI | {"content": [{"type": "text", "text": "Hi"}]}],
    "no content": [HI, {"role": "assistant", "content": None}],
    "content left out": [HI, {"role": "assistant"}],
    "a developer": [{"role": "developer", "content": "Be brief."}, HI],
    "reasoning": [HI, {"role": "assistant", "content": "Oslo", "reasoning": "Hm"}, HI],
    "a role of nobody's": [{"role": "ipython", "content": "1"}, HI],
    "no messages": [],
}


@pytest.mark.parametrize("messages", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_messages_that_are_not_plain_go_vllms_way(renderer: Counting, messages: Chat) -> None:
    # copies: it reads calls' arguments in place
    ours = outcome(lambda: chat(renderer, copy.deepcopy(messages)))
    assert len(renderer.by_vllm) == 1
    assert ours == outcome(lambda: renderer.vllms_chat(copy.deepcopy(messages)))


CALLS: dict[str, Chat] = {
    "a tool's answer": [HI, {"role": "tool", "content": "3 °C", "tool_call_id": "1"}],
    "calls": [HI, {"role": "assistant", "content": "", "tool_calls": [CALL]}, HI],
}


@pytest.mark.parametrize("messages", CALLS.values(), ids=CALLS)
def test_calls_go_vllms_way_where_the_template_has_a_place_for_them(
    renderer: Counting, messages: Chat
) -> None:
    """Else they are words, as plain as any."""
    has_place = "tool_calls" in renderer.llm.tokenizer.chat_template
    ours = outcome(lambda: chat(renderer, copy.deepcopy(messages)))
    assert len(renderer.by_vllm) == has_place
    same = ours == outcome(lambda: renderer.vllms_chat(copy.deepcopy(messages)))
    assert same == has_place
    read = rust_tokenizer(renderer.llm.tokenizer).decode(ours["prompt_token_ids"])
    assert "get_weather" in read or "<tool_response>\n3 °C\n</tool_response>" in read


@pytest.mark.parametrize("parser", ["hermes", FOUND])
def test_tools_are_in_the_prompt_whatever_the_template(renderer: Counting, parser: str) -> None:
    rendered = chat(renderer, [HI], tools=(WEATHER,), tool_parser=parser)
    read = rust_tokenizer(renderer.llm.tokenizer).decode(rendered["prompt_token_ids"])
    assert "<tools>" in read
    assert "get_weather" in read
    assert renderer.tools.parser == "hermes"


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_tools_go_vllms_way(renderer: Counting, choice: str) -> None:
    rendered = chat(renderer, [HI], tools=(WEATHER,), tool_parser="deepseek_v3", tool_choice=choice)
    assert len(renderer.by_vllm) == 1
    read = rust_tokenizer(renderer.llm.tokenizer).decode(rendered["prompt_token_ids"])
    assert ("get_weather" in read) == (choice == "auto")


TAKEN: tuple[dict[str, Any], ...] = (
    {"continue_final_message": True},
    {"continue_final_message": True, "add_generation_prompt": False},
    {"add_generation_prompt": False},
    {"documents": [{"title": "Norway", "text": "Oslo"}]},
    {"truncation": True, "max_length": 5},
    {"padding": "max_length", "max_length": 200},
    {"return_assistant_tokens_mask": True},
    {"tokenizer_kwargs": {"truncation": True, "max_length": 5}},
    {"tokenize": False},
    {"return_dict": True},
    {"chat_template": "{{ messages }}"},
    {"tools": []},
    {"eos_token": "!"},
)


@pytest.mark.parametrize("switches", TAKEN, ids=lambda s: "-".join(s))
def test_what_is_transformers_own_goes_vllms_way(
    renderer: Counting, switches: dict[str, Any]
) -> None:
    ours = outcome(lambda: chat(renderer, [HI], chat_template_kwargs=switches))
    assert len(renderer.by_vllm) == 1
    assert ours == outcome(lambda: renderer.vllms_chat([HI], switches))


def test_no_parameter_of_transformers_is_taken_for_the_templates(tiny_renderer: Counting) -> None:
    from transformers import TokenizersBackend

    own = inspect.signature(TokenizersBackend.apply_chat_template).parameters
    assert {"documents", "continue_final_message", "truncation"} <= own.keys()
    for name in own.keys() - {"self", "kwargs"}:
        tiny_renderer.by_vllm.clear()
        outcome(lambda n=name: chat(tiny_renderer, [HI], chat_template_kwargs={n: None}))  # type: ignore[misc]
        assert len(tiny_renderer.by_vllm) == 1, name


def test_a_template_that_refuses_some_renders_the_others_plainly(tmp_path: Path) -> None:
    renderer = Counting(tiny(tmp_path, NO_SYSTEM + TEMPLATE))
    assert renderer.is_plain
    assert without_time(chat(renderer, [HI])) == without_time(renderer.vllms_chat([HI]))
    assert renderer.by_vllm == []
    refused = [{"role": "system", "content": "Be brief."}, HI]
    ours = outcome(lambda: chat(renderer, refused))
    assert ours == outcome(lambda: renderer.vllms_chat(refused))
    assert ours[0].__name__ == "VLLMValidationError"
    assert "No system!" in ours[1]
    assert len(renderer.by_vllm) == 1


def test_half_a_character_is_refused_as_vllm_does(tiny_renderer: Counting) -> None:
    """A lone surrogate, which JSON can spell."""
    with pytest.raises((TypeError, ValueError), match="TextEncodeInput"):
        chat(tiny_renderer, [HI | {"content": "\ud83d"}])
    with pytest.raises((TypeError, ValueError), match="TextEncodeInput"):
        tiny_renderer.prompts(["\ud83d"])


@pytest.mark.parametrize("ids", [[], [-1], [0, 10**6]], ids=["none", "negative", "too large"])
def test_token_ids_are_checked(renderer: Counting, ids: list[int]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        renderer.prompts(["text", ids])
    assert raised.value.param == "prompt"


def test_the_first_id_past_the_vocabulary_is_refused(renderer: Counting) -> None:
    with pytest.raises(InvalidRequest, match="Token ids are from 0 to"):
        renderer.prompts([[renderer.llm.model_config.get_vocab_size()]])
