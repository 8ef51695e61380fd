"""Pictures in chats: read in their order, counted as the engine counts them, refused where they
stand."""

import base64
import time
from typing import Any

import httpx
import pytest

from engines.testing.pictures import LOW_TOKENS, PICTURE_TOKENS
from tests.support.pictures import (
    bomb,
    data_url,
    image_part,
    picture,
    user,
)
from tests.support.serving import Served, read_records, scripted, server_of, wait_until
from tests.support.wire_checks import assert_error

served = server_of(
    scripted("seeing", images=3), scripted("small", images=1, context_tokens=20), scripted("plain")
)
RED, BLUE = picture(), picture(color="blue", size=(16, 8))
URL = "messages[0].content[0].image_url.url"


def said(client: httpx.Client, messages: Any, **more: Any) -> dict[str, Any]:
    answer = client.post(
        "/v1/chat/completions", json={"model": "seeing", "messages": messages, **more}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def text(body: dict[str, Any]) -> str:
    told: str = body["choices"][0]["message"]["content"]
    return told


def refused(client: httpx.Client, part: Any, model: str = "seeing") -> dict[str, Any]:
    body = {"model": model, "messages": user(part)}
    answer = client.post("/v1/chat/completions", json=body)
    return invalid(answer)


def invalid(answer: httpx.Response) -> dict[str, Any]:
    assert len(answer.content) < 1500
    error: dict[str, Any] = answer.json()["error"]
    assert_error(answer, 400, "INVALID_PARAMETER", error["param"])
    return error


def test_texts_and_pictures_keep_their_order(client: httpx.Client) -> None:
    messages = user("One", image_part(RED), "two", image_part(BLUE, detail="high"))
    assert text(said(client, messages)) == "One [32x20]two [16x8]"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_format_is_read_by_its_bytes(client: httpx.Client, kind: str) -> None:
    part = image_part(data_url(picture(kind=kind), "image/jpeg"))
    assert text(said(client, user(part))) == " [32x20]"


def test_the_first_frame_of_one_that_moves(client: httpx.Client) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (9, 7), color) for color in ("red", "blue", "green")]
    for kind in ("GIF", "WEBP"):
        data = picture((9, 7), kind=kind, save_all=True, append_images=frames)
        assert text(said(client, user(image_part(data)))) == " [9x7]"


def test_a_picture_is_upright(client: httpx.Client) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    turned = picture(kind="JPEG", exif=exif)
    assert text(said(client, user(image_part(turned)))) == " [20x32]"


def test_the_plain_form_of_a_picture(client: httpx.Client) -> None:
    part = {"type": "image_url", "image_url": data_url(RED)}
    assert text(said(client, user("a", part))) == "a [32x20]"


def test_base64_in_lines_is_read(client: httpx.Client) -> None:
    lines = base64.encodebytes(RED).decode()
    assert text(said(client, user(image_part(f"data:image/png;base64,{lines}")))) == " [32x20]"


@pytest.mark.parametrize(("detail", "tokens"), [("low", LOW_TOKENS), ("auto", PICTURE_TOKENS)])
def test_what_a_picture_costs(
    client: httpx.Client, served: Served, detail: str, tokens: int
) -> None:
    messages = user("a b", image_part(RED, detail=detail))
    usage = said(client, messages)["usage"]
    assert usage["prompt_tokens"] == 3 + tokens
    counted = client.post("/v1/tokenize", json={"model": "seeing", "messages": messages}).json()
    assert counted["count"] == usage["prompt_tokens"]
    assert read_records(served.data_dir)[-1]["prompt_tokens"] == 3 + tokens


def test_streamed_is_as_whole(client: httpx.Client) -> None:
    messages = user("Tell me", image_part(RED), "now please")
    whole = said(client, messages)
    ask = {"model": "seeing", "messages": messages, "stream": True}
    lines = client.post(
        "/v1/chat/completions", json={**ask, "stream_options": {"include_usage": True}}
    ).text.split("\n\n")
    chunks = [httpx.Response(200, text=x[6:]).json() for x in lines if x.startswith("data: {")]
    joined = "".join(c["delta"].get("content") or "" for k in chunks for c in k["choices"])
    assert joined == text(whole)
    assert chunks[-1]["usage"]["prompt_tokens"] == whole["usage"]["prompt_tokens"]


def test_a_tool_may_show_a_picture(client: httpx.Client) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        *user("Look"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": user("Seen", image_part(RED))[0]["content"],
        },
    ]
    tokens = said(client, messages)["usage"]["prompt_tokens"]
    messages[-1]["content"] = "Seen"
    assert tokens == said(client, messages)["usage"]["prompt_tokens"] + PICTURE_TOKENS


def test_a_context_that_pictures_fill(client: httpx.Client) -> None:
    body = {"model": "small", "messages": user("a b c d e f", image_part(RED))}
    answer = client.post("/v1/chat/completions", json=body)
    error = assert_error(answer, 400, "CONTEXT_LENGTH_EXCEEDED", "messages")
    assert error["details"]["prompt_tokens"] == 7 + PICTURE_TOKENS


WRONG = {
    "no base64": "data:image/png;base64,@@@@",
    "half a group": "data:image/png;base64,iVBORw0KGg",
    "letters of other alphabets": "data:image/png;base64,жжжж",
    "nothing": "data:image/png;base64,",
    "no picture": data_url(b"hello, this is a text"),
    "a zero": data_url(b"\x00" * 64),
    "cut off": data_url(picture((64, 64), kind="JPEG")[:-200]),
    "a damaged PNG": data_url(RED[:60] + b"\x00" * 20 + RED[80:]),
    "TIFF": data_url(picture(kind="TIFF")),
    "BMP": data_url(picture(kind="BMP")),
    "SVG": data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "said to be SVG": data_url(RED, "image/svg+xml"),
    "said to be a text": data_url(RED, "text/plain"),
    "no base64 said": "data:image/png,abc",
    "no URL": "not a url",
    "a file's": "file:///etc/passwd",
    "empty": "",
    "too many pixels": data_url(bomb(8_000)),
    "many more": data_url(bomb(50_000)),
    "a long side": data_url(picture((16_385, 1))),
    "elsewhere": "http://127.0.0.1:1/a.png",
    "a site": "https://example.com/a.png?secret=1",
}


@pytest.mark.parametrize("why", WRONG)
def test_what_is_refused_is_named(client: httpx.Client, why: str) -> None:
    began = time.process_time()
    error = refused(client, image_part(WRONG[why]))
    assert (error["param"], error["details"]["field"]) == (URL, URL)
    assert "right" in error["message"] or "expected" in error["message"]
    assert error["details"]["expected"]
    assert "passwd" not in error["message"]
    assert "secret" not in error["message"]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "image_url"}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[0].image_url.url"),
        (image_part(RED, detail="huge"), "messages[0].content[0].image_url.detail"),
        ({"type": "input_audio"}, "messages[0].content[0].type"),
        ({"type": "image_url", "image_url": 5}, "messages[0].content[0].image_url"),
    ],
)
def test_a_part_of_a_wrong_shape(client: httpx.Client, part: Any, field: str) -> None:
    assert refused(client, part)["param"] == field


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_pictures_are_users_and_tools(client: httpx.Client, role: str) -> None:
    messages = [{"role": role, "content": [image_part(RED)]}, *user("x")]
    body = {"model": "seeing", "messages": messages}
    answer = client.post("/v1/chat/completions", json=body)
    assert invalid(answer)["param"] == "messages[0].content[0].type"


def test_as_many_as_the_registry_says(client: httpx.Client) -> None:
    said(client, user(*[image_part(RED)] * 3))
    body = {"model": "seeing", "messages": [*user(*[image_part(RED)] * 2)] * 2}
    answer = client.post("/v1/chat/completions", json=body)
    error = invalid(answer)
    assert error["param"] == "messages[1].content[1]"
    assert error["details"]["expected"] == "at most 3 pictures in a request"


def test_too_many_pixels_together(client: httpx.Client) -> None:
    large = image_part(bomb(6_000))
    said(client, user(large, large))
    body = {"model": "seeing", "messages": user(large, large, image_part(bomb(3_200)))}
    answer = client.post("/v1/chat/completions", json=body)
    assert invalid(answer)["param"] == "messages[0].content[2].image_url.url"


def test_a_model_of_text_says_so_first(client: httpx.Client) -> None:
    error = refused(client, image_part(WRONG["no base64"]), "plain")
    assert (error["param"], error["details"]["expected"]) == (
        "messages[0].content[0].type",
        "text",
    )
    assert "reads text only" in error["message"]


def test_a_prompt_with_pictures_is_not_cut(client: httpx.Client) -> None:
    ask = {"model": "seeing", "messages": user(image_part(RED)), "truncate_prompt_tokens": 5}
    answer = client.post("/v1/chat/completions", json=ask)
    assert invalid(answer)["param"] == "truncate_prompt_tokens"


def test_a_refused_picture_is_recorded_and_costs_nothing(
    client: httpx.Client, served: Served
) -> None:
    def found() -> list[Any]:
        records = read_records(served.data_dir)
        return [r for r in records if (r["alias"], r["end"]) == ("seeing", "rejected")]

    before = len(found())
    refused(client, image_part(WRONG["cut off"]))
    wait_until(lambda: len(found()) == before + 1, "it is recorded")
    assert found()[-1]["prompt_tokens"] == 0


def test_a_bomb_holds_up_nobody(client: httpx.Client, served: Served) -> None:
    """The child that looks at it is another process."""
    import threading

    bad = threading.Thread(
        target=lambda: [refused(client, image_part(WRONG["many more"])) for _ in range(3)]
    )
    bad.start()
    assert text(said(client, user("hello"))) == "hello"
    bad.join()
    assert text(said(client, user(image_part(BLUE)))) == " [16x8]"


def test_the_child_may_be_killed(client: httpx.Client, served: Served) -> None:
    said(client, user(image_part(RED)))
    child = served.services.pictures._looker._child._child
    assert child is not None
    child.kill()
    child.wait()
    assert text(said(client, user(image_part(picture((5, 5)))))) == " [5x5]"


def test_the_list_says_what_goes_in(client: httpx.Client) -> None:
    listed = client.get("/v1/models?details=true").json()["data"]
    told = {model["id"]: (model["input_modalities"], model["images"]) for model in listed}
    assert told["seeing"] == (["text", "image"], 3)
    assert told["plain"] == (["text"], 0)
