"""Pictures in the bodies of Responses, Messages and Ollama, as in a chat."""

from typing import Any

import httpx
import pytest

from engines.testing.pictures import LOW_TOKENS, PICTURE_TOKENS
from tests.support.pictures import base64_of, data_url, picture
from tests.support.serving import scripted, server_of

served = server_of(scripted("seeing", images=2), scripted("plain"))
RED = picture()
URL, DATA = data_url(RED), base64_of(RED)
BAD = base64_of(RED[:80])


def source(**more: Any) -> dict[str, Any]:
    return {"type": "base64", "media_type": "image/png", "data": DATA, **more}


def image(**more: Any) -> dict[str, Any]:
    return {"type": "image", "source": source(**more)}


def respond(client: httpx.Client, *parts: Any, **more: Any) -> httpx.Response:
    body = {"model": "seeing", "input": [{"role": "user", "content": list(parts)}], **more}
    return client.post("/v1/responses", json=body)


def message(client: httpx.Client, *parts: Any, **more: Any) -> httpx.Response:
    turns = [{"role": "user", "content": list(parts)}]
    body = {"model": "seeing", "max_tokens": 50, "messages": turns, **more}
    return client.post("/v1/messages", json=body)


def test_a_response_of_a_picture(client: httpx.Client) -> None:
    part = {"type": "input_image", "image_url": URL}
    told = respond(client, {"type": "input_text", "text": "a"}, part).json()
    assert told["output"][0]["content"][0]["text"] == "a [32x20]"
    low = respond(client, {"type": "input_text", "text": "a"}, part | {"detail": "low"}).json()
    more = told["usage"]["input_tokens"] - low["usage"]["input_tokens"]
    assert more == PICTURE_TOKENS - LOW_TOKENS


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"image_url": data_url(RED[:80])}, "input[0].content[0].image_url"),
        ({"file_id": "file-1"}, "input[0].content[0].image_url"),
        ({"image_url": URL, "detail": "all"}, "input[0].content[0].detail"),
        ({"image_url": "https://a.example/a.png"}, "input[0].content[0].image_url"),
    ],
)
def test_a_response_s_picture_is_refused_by_its_place(
    client: httpx.Client, part: dict[str, Any], field: str
) -> None:
    answer = respond(client, {"type": "input_image", **part})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text


def test_what_a_call_showed(client: httpx.Client) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    shown = {"type": "input_image", "image_url": URL}
    output = {"type": "function_call_output", "call_id": "c", "output": [shown]}
    items = [{"role": "user", "content": "Look"}, call, output]
    answer = client.post("/v1/responses", json={"model": "seeing", "input": items})
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["input_tokens"] > PICTURE_TOKENS


def test_a_message_of_pictures(client: httpx.Client) -> None:
    text = {"type": "text", "text": "and"}
    answer = message(client, {"type": "text", "text": "a"}, text, image(), text, image())
    assert answer.json()["content"][0]["text"] == "a\n\nand [32x20]and [32x20]", answer.text
    turns = [{"role": "user", "content": [text, image()]}]
    body = {"model": "seeing", "messages": turns}
    counted = client.post("/v1/messages/count_tokens", json=body).json()["input_tokens"]
    billed = message(client, text, image()).json()["usage"]["input_tokens"]
    assert counted == billed


def test_what_a_tool_showed(client: httpx.Client) -> None:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [image()], "is_error": True}
    turns = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result, {"type": "text", "text": "Well?"}]},
    ]
    body = {"model": "seeing", "max_tokens": 9, "messages": turns}
    answer = client.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["input_tokens"] > PICTURE_TOKENS


@pytest.mark.parametrize(
    ("block", "field"),
    [
        (image(data=BAD), "source.data"),
        (image(media_type="image/tiff"), "source.data"),
        (image(data=None), "source.data"),
        (image(type="file", data=None), "source.data"),
        ({"type": "image"}, "source.data"),
        (image(type="url", url="https://a.example/a.png"), "source.url"),
    ],
)
def test_a_message_s_picture_is_refused_by_its_place(
    client: httpx.Client, block: dict[str, Any], field: str
) -> None:
    answer = message(client, block)
    assert answer.status_code == 400
    assert f"messages[0].content[0].{field}" in answer.json()["error"]["message"]
    turns = [{"role": "user", "content": [block]}]
    counted = client.post("/v1/messages/count_tokens", json={"model": "seeing", "messages": turns})
    assert counted.json()["error"]["message"] == answer.json()["error"]["message"]


def test_an_assistant_s_picture_is_none(client: httpx.Client) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [image()]}]
    body = {"model": "seeing", "max_tokens": 9, "messages": turns}
    answer = client.post("/v1/messages", json=body)
    assert "messages[1].content[0].type" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
def test_ollamas_pictures(client: httpx.Client, stream: bool) -> None:
    asked = {"role": "user", "content": "What?", "images": [DATA, URL]}
    body = {"model": "seeing", "messages": [asked], "stream": stream}
    lines = client.post("/api/chat", json=body).text.splitlines()
    said = "".join(httpx.Response(200, text=x).json()["message"]["content"] for x in lines)
    assert said == " [32x20] [32x20]What?"
    alone = {"model": "seeing", "prompt": "What?", "images": [DATA], "stream": False}
    assert client.post("/api/generate", json=alone).json()["response"] == " [32x20]What?"
    del alone["prompt"]
    assert client.post("/api/generate", json=alone).json()["response"] == " [32x20]"


@pytest.mark.parametrize(
    ("images", "field"),
    [([BAD], "images[0]"), ([DATA, "@"], "images[1]"), ([DATA] * 3, "images[2]")],
)
def test_ollamas_pictures_are_refused_by_their_place(
    client: httpx.Client, images: list[str], field: str
) -> None:
    asked = {"role": "user", "content": "What?", "images": images}
    body = {"model": "seeing", "messages": [asked]}
    answer = client.post("/api/chat", json=body)
    assert answer.status_code == 400
    assert f"messages[0].{field}" in answer.json()["error"]
    alone = {"model": "seeing", "prompt": "What?", "images": images}
    answer = client.post("/api/generate", json=alone)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith((field, f"{field}:"))


def test_a_raw_prompt_has_no_pictures(client: httpx.Client) -> None:
    body = {"model": "seeing", "prompt": "a", "raw": True, "images": [DATA]}
    answer = client.post("/api/generate", json=body)
    assert "images has no place in a raw prompt" in answer.json()["error"]
