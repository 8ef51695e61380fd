# mypy: ignore-errors
"""Ollama's own client: whole, streamed, tools, forms, thoughts, vectors, lists, errors."""

import os

import ollama

CLIENT = ollama.Client(
    host=os.environ["FJORD_URL"], headers={"Authorization": f"Bearer {os.environ['FJORD_KEY']}"}
)
SAID = [{"role": "user", "content": "Hei på deg 🫐"}]


def weather(city: str) -> str:
    """The weather of a city.

    Args:
      city: Its name.
    """
    return f"Rain in {city}"


names = [model.model for model in CLIENT.list().models]
assert "mixtral-8x7b" in names, names
assert "tools" in CLIENT.show("agent").capabilities
assert all(model.size_vram >= 0 for model in CLIENT.ps().models)

whole = CLIENT.chat("mixtral-8x7b", SAID, options={"temperature": 0})
assert whole.message.content == "Hei på deg 🫐"
assert whole.done
assert whole.eval_count > 0
assert whole.total_duration >= whole.eval_duration > 0
streamed = list(CLIENT.chat("mixtral-8x7b:latest", SAID, stream=True))
assert "".join(part.message.content for part in streamed) == "Hei på deg 🫐"
assert streamed[-1].done_reason == "stop"
assert CLIENT.generate("mixtral-8x7b", "Hei", raw=True).response == "Hei"
assert CLIENT.generate("mixtral-8x7b").done_reason == "load"

turn = CLIENT.chat("agent", SAID, tools=[weather])
[call] = turn.message.tool_calls
assert call.function.name == "weather"
result = {"role": "tool", "tool_name": "weather", "content": weather(**call.function.arguments)}
assert CLIENT.chat("agent", [*SAID, turn.message, result], tools=[weather]).message

schema = {"type": "object", "properties": {"n": {"const": 1}}, "required": ["n"]}
assert (
    CLIENT.chat("mixtral-8x7b", SAID, format=schema).message.content.replace(" ", "") == '{"n":1}'
)
thought = CLIENT.chat("thinking", SAID, think=True)
assert (thought.message.thinking, thought.message.content) == ("Norway, so Oslo.", "Oslo.")

vectors = CLIENT.embed("vectors", ["a", "b"])
assert len(vectors.embeddings) == 2
assert list(CLIENT.embeddings("vectors", "a").embedding) == list(vectors.embeddings[0])
assert CLIENT.pull("mixtral-8x7b").status == "success"
assert [step.status for step in CLIENT.pull("mixtral-8x7b", stream=True)] == ["success"]


def refused(ask) -> ollama.ResponseError:
    try:
        ask()
    except ollama.ResponseError as error:
        return error
    raise AssertionError(ask)


for status, ask in (
    (404, lambda: CLIENT.chat("no-such", SAID)),
    (404, lambda: list(CLIENT.generate("no-such", "x", stream=True))),
    (400, lambda: CLIENT.chat("mixtral-8x7b", SAID, options={"temperature": 3})),
    (400, lambda: CLIENT.chat("mixtral-8x7b", SAID, think=True)),
    (403, lambda: CLIENT.delete("mixtral-8x7b")),
):
    error = refused(ask)
    assert error.status_code == status, error
    assert "{" not in error.error, error
