# mypy: ignore-errors
"""litellm: whole, streamed, tools, vectors, and its errors."""

import os

import litellm

HOW = {"api_base": os.environ["FJORD_URL"] + "/v1", "api_key": os.environ["FJORD_KEY"]}
ASK = {"model": "openai/mixtral-8x7b", "messages": [{"role": "user", "content": "Hei på deg"}]}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}

whole = litellm.completion(**ASK, **HOW)
assert whole.choices[0].message.content == "Hei på deg"
assert whole.usage.total_tokens > 0
chunks = list(litellm.completion(**ASK, **HOW, stream=True))
assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hei på deg"
called = litellm.completion(**ASK, **HOW, tools=[TOOL], tool_choice="required")
assert called.choices[0].message.tool_calls[0].function.name == "now"
thought = litellm.completion(**(ASK | {"model": "openai/thinking"}), **HOW)
assert thought.choices[0].message.reasoning_content == "Norway, so Oslo."
assert len(litellm.embedding(model="openai/vectors", input=["a", "b"], **HOW).data) == 2
for wrong, error in (
    ({"temperature": 3}, litellm.BadRequestError),
    # litellm reads the words of an error: with this type it knows OpenAI's own code alone as a 404.
    ({"model": "openai/no-such"}, litellm.BadRequestError),
):
    try:
        litellm.completion(**(ASK | wrong), **HOW, num_retries=0)
    except error:
        pass
    else:
        raise AssertionError(f"{wrong} was taken")
