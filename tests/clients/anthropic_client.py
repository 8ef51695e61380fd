# mypy: ignore-errors
"""Anthropic's own client: whole, streamed, tools, thoughts, stops, counts, lists, errors."""

import json
import os

import anthropic

CLIENT = anthropic.Anthropic(
    base_url=os.environ["FJORD_URL"], api_key=os.environ["FJORD_KEY"], max_retries=0
)
BEARER = anthropic.Anthropic(
    base_url=os.environ["FJORD_URL"], auth_token=os.environ["FJORD_KEY"], max_retries=0
)
ASK = {
    "model": "mixtral-8x7b",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hei på deg 🫐"}],
}
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo"]}},
        "required": ["city"],
    },
}

whole = CLIENT.messages.create(**ASK)
assert [block.text for block in whole.content] == ["Hei på deg 🫐"]
assert (whole.stop_reason, whole.role, whole.type) == ("end_turn", "assistant", "message")
assert whole.usage.input_tokens > 0
assert whole.usage.output_tokens > 0
assert whole._request_id
assert BEARER.messages.create(**ASK).content[0].text == "Hei på deg 🫐"

with CLIENT.messages.stream(**ASK) as stream:
    assert "".join(stream.text_stream) == "Hei på deg 🫐"
    last = stream.get_final_message()
assert last.usage.output_tokens == whole.usage.output_tokens
kinds = [event.type for event in CLIENT.messages.create(**ASK, stream=True)]
assert kinds[0] == "message_start", kinds
assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"], kinds

system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
counted = CLIENT.messages.count_tokens(
    model="mixtral-8x7b", messages=ASK["messages"], system=system
).input_tokens
asked = CLIENT.messages.create(**ASK, system=system)
assert asked.usage.input_tokens + asked.usage.cache_read_input_tokens == counted

said = [*ASK["messages"]]
turn = CLIENT.messages.create(**{**ASK, "model": "agent"}, tools=[WEATHER])
[use] = [block for block in turn.content if block.type == "tool_use"]
assert (use.name, use.input, turn.stop_reason) == ("weather", {"city": "Oslo"}, "tool_use")
said += [
    {"role": "assistant", "content": turn.content},
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": use.id,
                "content": [{"type": "text", "text": "Rain"}],
            },
            {"type": "text", "text": "And now?"},
        ],
    },
]
again = CLIENT.messages.create(**{**ASK, "model": "agent", "messages": said}, tools=[WEATHER])
assert again.content
with CLIENT.messages.stream(**{**ASK, "model": "agent"}, tools=[WEATHER]) as stream:
    pieces = [event.partial_json for event in stream if event.type == "input_json"]
    final = stream.get_final_message()
assert json.loads("".join(pieces)) == {"city": "Oslo"}
assert final.content[-1].input == {"city": "Oslo"}
forced = CLIENT.messages.create(
    **ASK, tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"}
)
assert [block.type for block in forced.content] == ["tool_use"]

thinking = {**ASK, "model": "thinking"}
wants = {"type": "enabled", "budget_tokens": 32}
thought = CLIENT.messages.create(**thinking, thinking=wants)
assert [block.type for block in thought.content] == ["thinking", "text"]
assert thought.content[0].thinking == "Norway, so Oslo."
assert thought.content[0].signature
assert [block.type for block in CLIENT.messages.create(**thinking).content] == ["text"]
back = [*ASK["messages"], {"role": "assistant", "content": thought.content}, *ASK["messages"]]
assert CLIENT.messages.create(**{**thinking, "messages": back}, thinking=wants).content
with CLIENT.messages.stream(**thinking, thinking=wants) as stream:
    final = stream.get_final_message()
assert final.content[0].signature == thought.content[0].signature
assert final.content[0].thinking == "Norway, so Oslo."

stopped = CLIENT.messages.create(**ASK, stop_sequences=["deg", "nope"])
assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "deg")
assert stopped.content[0].text == "Hei på "
cut = CLIENT.messages.create(**{**ASK, "max_tokens": 1})
assert cut.stop_reason == "max_tokens"

names = [model.id for model in CLIENT.models.list()]
assert "mixtral-8x7b" in names, names
model = CLIENT.models.retrieve("mixtral-8x7b")
assert (model.display_name, model.lifecycle) == ("mixtral-8x7b", "active")
assert model.max_tokens > 0


def refused(ask) -> anthropic.APIStatusError:
    try:
        ask()
    except anthropic.APIStatusError as error:
        return error
    raise AssertionError(ask)


stranger = anthropic.Anthropic(
    base_url=os.environ["FJORD_URL"], api_key="wayscloud_llm_x_y", max_retries=0
)
picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
for kind, name, ask in (
    (
        anthropic.NotFoundError,
        "not_found_error",
        lambda: CLIENT.messages.create(**{**ASK, "model": "no"}),
    ),
    (anthropic.NotFoundError, "not_found_error", lambda: CLIENT.models.retrieve("no")),
    (
        anthropic.AuthenticationError,
        "authentication_error",
        lambda: stranger.messages.create(**ASK),
    ),
    (anthropic.AuthenticationError, "authentication_error", lambda: stranger.models.list()),
    (
        anthropic.BadRequestError,
        "invalid_request_error",
        lambda: CLIENT.messages.create(**ASK, extra_body={"temperature": 3}),
    ),
    (
        anthropic.BadRequestError,
        "invalid_request_error",
        lambda: CLIENT.messages.create(
            **{**ASK, "messages": [{"role": "user", "content": [picture]}]}
        ),
    ),
):
    error = refused(ask)
    assert isinstance(error, kind), error
    assert error.body["error"]["type"] == name, error.body
    assert error.body["type"] == "error"
    assert error.request_id == error.body["request_id"], error.body
