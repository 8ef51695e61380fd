# mypy: ignore-errors
"""The service's own SDK. It has no LLM part: its generic get and post are what reaches this API."""

import os

from wayscloud import WaysCloudClient
from wayscloud.exceptions import AuthenticationError, NotFoundError, ValidationError

URL, KEY = os.environ["FJORD_URL"], os.environ["FJORD_KEY"]
NORWAY = {
    "model": "mixtral-8x7b",
    "messages": [{"role": "user", "content": "What is the capital of Norway?"}],
    "temperature": 0.7,
    "max_tokens": 256,
}


def refused(error, client, **body) -> str:
    try:
        client.post("/v1/llm/chat", json=NORWAY | body)
    except error as e:
        return e.detail
    raise AssertionError(f"{body} was taken")


for auth in ({"api_key": KEY}, {"token": KEY}):
    with WaysCloudClient(base_url=URL, **auth) as client:
        assert client.get("/v1/llm/models")["object"] == "list"
        answer = client.post("/v1/llm/chat", json=NORWAY)
        assert answer["choices"][0]["message"]["content"] == NORWAY["messages"][0]["content"]
        assert "temperature" in refused(ValidationError, client, temperature=3)
        assert "no-such" in refused(NotFoundError, client, model="no-such")
with WaysCloudClient(base_url=URL, api_key="wayscloud_llm_abc12_wrong") as client:
    assert "key" in refused(AuthenticationError, client)
