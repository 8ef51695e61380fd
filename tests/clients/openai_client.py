# mypy: ignore-errors
"""OpenAI's own client: what an application of it uses."""

import asyncio
import contextlib
import json
import os
import time

import openai

URL, KEY = os.environ["FJORD_URL"] + "/v1", os.environ["FJORD_KEY"]
ASK = {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": "Hei på deg 🫐"}]}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}},
    },
}

client = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)

assert "mixtral-8x7b" in {m.id for m in client.models.list()}
assert client.models.retrieve("mixtral-8x7b").owned_by == "wayscloud"

whole = client.chat.completions.create(**ASK, seed=1, logprobs=True, top_logprobs=2)
assert whole.choices[0].message.content == "Hei på deg 🫐"
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2

options = {"include_usage": True}
chunks = list(client.chat.completions.create(**ASK, stream=True, stream_options=options))
said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert said == "Hei på deg 🫐"
assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens

with client.chat.completions.stream(**ASK) as stream:
    assert stream.get_final_completion().choices[0].message.content == "Hei på deg 🫐"

called = client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="required")
assert called.choices[0].finish_reason == "tool_calls"
assert called.choices[0].message.tool_calls[0].function.arguments == '{"city": "Oslo"}'

raw = client.chat.completions.with_raw_response.create(**ASK, extra_body={"agent_id": "a"})
assert raw.headers["x-request-id"] == raw.parse()._request_id

thought = client.chat.completions.create(**(ASK | {"model": "thinking"}))
assert thought.model_extra["model_output_metadata"] == {"reasoning": "Norway, so Oslo."}

vectors = client.embeddings.create(model="vectors", input=["a", "b"])
assert [v.index for v in vectors.data] == [0, 1]
assert client.completions.create(model="mixtral-8x7b", prompt="Oslo", max_tokens=4).choices[0]

answered = client.responses.create(model="mixtral-8x7b", input="Hei", store=False)
assert answered.output_text == "Hei"
events = [e.type for e in client.responses.create(model="mixtral-8x7b", input="Hei", stream=True)]
assert events[0] == "response.created", events
assert events[-1] == "response.completed", events

kept = client.responses.create(model="mixtral-8x7b", input="Hei", metadata={"a": "b"})
assert client.responses.retrieve(kept.id).output_text == "Hei"
onward = client.responses.create(model="mixtral-8x7b", input="du", previous_response_id=kept.id)
assert onward.usage.input_tokens > kept.usage.input_tokens
assert [i.content[0].text for i in client.responses.input_items.list(onward.id)] == ["du"]
streamed = list(client.responses.create(model="mixtral-8x7b", input="Hei du", stream=True))
again = client.responses.retrieve(streamed[0].response.id, stream=True, starting_after=2)
assert list(again) == streamed[3:]
client.responses.delete(kept.id)
gone = {"model": "mixtral-8x7b", "input": "du", "previous_response_id": kept.id}
with contextlib.suppress(openai.BadRequestError):
    client.responses.create(**gone)
    raise AssertionError("a deleted response is gone on from")

running = client.responses.create(model="long", input="Hei", background=True)
assert running.status == "queued"
assert client.responses.cancel(running.id).status == "cancelled"
done = client.responses.create(model="mixtral-8x7b", input="Hei", background=True)
until = time.monotonic() + 60
while done.status in ("queued", "in_progress") and time.monotonic() < until:
    done = client.responses.retrieve(done.id)
assert (done.status, done.output_text) == ("completed", "Hei")

conversation = client.conversations.create(
    items=[{"type": "message", "role": "user", "content": "Hei"}], metadata={"a": "b"}
)
assert client.conversations.retrieve(conversation.id).metadata == {"a": "b"}
assert client.conversations.update(conversation.id, metadata={"c": "d"}).metadata == {"c": "d"}
client.responses.create(model="mixtral-8x7b", input="du", conversation=conversation.id)
items = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
assert [item.content[0].text for item in items] == ["Hei", "du", "du"], items
one = client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id)
assert one == items[0]
client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
more = [{"type": "message", "role": "assistant", "content": "ja"}]
client.conversations.items.create(conversation.id, items=more)
assert len(list(client.conversations.items.list(conversation.id))) == 3
assert client.conversations.delete(conversation.id).deleted


def refusal(error, asked, **fields):
    """The error of this type that the request raises."""
    try:
        asked.chat.completions.create(**(ASK | fields))
    except error as e:
        return e
    raise AssertionError(f"{fields} were taken")


hot = refusal(openai.BadRequestError, client, temperature=3)
assert (hot.code, hot.param) == ("INVALID_PARAMETER", "temperature")
unknown = refusal(openai.NotFoundError, client, model="no-such")
assert (unknown.code, unknown.param) == ("MODEL_NOT_FOUND", "model")
stranger = openai.OpenAI(base_url=URL, api_key="wrong")
assert refusal(openai.AuthenticationError, stranger).code == "AUTH_FAILED"


async def at_once() -> None:
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as many:
        answers = await asyncio.gather(*(many.chat.completions.create(**ASK) for _ in range(20)))
        assert len({a.id for a in answers}) == 20


asyncio.run(at_once())


def batch_line(number: int, text: str) -> str:
    body = {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": text}]}
    line = {"custom_id": f"n{number}", "method": "POST", "url": "/v1/chat/completions"}
    return json.dumps(line | {"body": body})


lines = "\n".join(batch_line(i, f"Hei {i}") for i in range(3))
file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
assert (file.purpose, file.filename, file.bytes) == ("batch", "in.jsonl", len(lines))
assert file.id in [each.id for each in client.files.list(limit=1)]
assert client.files.content(file.id).text == lines
batch = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/chat/completions",
    completion_window="24h",
    metadata={"a": "b"},
)
end = time.monotonic() + 60
while batch.status not in ("completed", "failed") and time.monotonic() < end:
    batch = client.batches.retrieve(batch.id)
assert (batch.status, batch.request_counts.completed) == ("completed", 3), batch
assert batch.metadata == {"a": "b"}
assert batch.id in [each.id for each in client.batches.list(limit=1)]
answers = [json.loads(line) for line in client.files.content(batch.output_file_id).iter_lines()]
assert [a["response"]["body"]["choices"][0]["message"]["content"] for a in answers] == [
    "Hei 0",
    "Hei 1",
    "Hei 2",
]
assert client.batches.with_raw_response.retrieve(batch.id).status_code == 200
assert client.files.delete(file.id).deleted
