"""Checks: pictures, where a model reads some (--vision-model)."""

import base64
import struct
import zlib
from typing import Any

from server.conform import expect
from server.conform.check import declared
from server.conform.target import FIXED, MESSAGES, RESPONSES, TOKENIZE, Target
from server.conform.unmet import Skipped

FIELD = "messages[0].content[1].image_url.url"


@declared("field-images")
def counted(t: Target) -> None:
    """A picture is read, and its tokens are counted with the prompt's"""
    with_one = expect.ok(_seen(t, _url(_png())))["usage"]["prompt_tokens"]
    without = expect.ok(_asked(t, t.said("What is it?")))["usage"]["prompt_tokens"]
    expect.that(with_one > without, "more prompt_tokens than without it", [with_one, without])


@declared("field-images")
def plain_form(t: Target) -> None:
    """image_url as a string is the same picture"""
    url = _url(_png())
    nested, plain = (expect.ok(_seen(t, each)) for each in (url, {"": url}))
    expect.equal("prompt_tokens", *(each["usage"]["prompt_tokens"] for each in (plain, nested)))


@declared("field-images")
def streamed(t: Target) -> None:
    """Streamed as whole"""
    whole = expect.ok(_seen(t, _url(_png())))
    stream = t.stream(
        model=_model(t),
        messages=_messages(_url(_png())),
        stream_options={"include_usage": True},
        **FIXED,
    )
    expect.equal("status", stream.status_code, 200)
    usage = stream.chunks[-1]["usage"]
    expect.equal("prompt_tokens", usage["prompt_tokens"], whole["usage"]["prompt_tokens"])
    expect.equal("text", stream.joined(), whole["choices"][0]["message"]["content"] or "")


@declared("field-images-count")
def told_before(t: Target) -> None:
    """/v1/tokenize counts a picture as it is billed"""
    url = _url(_png())
    billed = expect.ok(_seen(t, url))["usage"]["prompt_tokens"]
    answer = t.post(TOKENIZE, {"model": _model(t), "messages": _messages(url)})
    expect.equal("count", expect.ok(answer)["count"], billed)


@declared("field-images-refused")
def damaged(t: Target) -> None:
    """No base64, a text, a picture that is cut off: 400 naming the part"""
    for url in ("data:image/png;base64,@@", _url(b"no picture"), _url(_png()[:45])):
        _refused(t, url)


@declared("field-images-refused")
def other_kinds(t: Target) -> None:
    """Another media type: 400 naming the part"""
    _refused(t, _url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"))
    _refused(t, _url(_png(), "text/plain"))


@declared("field-images-size")
def too_many_pixels(t: Target) -> None:
    """A picture of 50,000 by 50,000 pixels in few bytes: 400 naming the part"""
    _refused(t, _url(_png(50_000, is_whole=False)))


@declared("field-images-size")
def too_many(t: Target) -> None:
    """65 pictures: 400 naming the first that is too many"""
    part = {"type": "image_url", "image_url": {"url": _url(_png())}}
    answer = _asked(t, [{"role": "user", "content": [part] * 65}])
    error = expect.refused(answer, 400, "INVALID_PARAMETER")
    expect.that(str(error.get("param")).startswith("messages[0].content["), "a part", error)


@declared("field-images-elsewhere")
def on_this_machine(t: Target) -> None:
    """An address of the server's own machine, and of a cloud's metadata: 400 naming the part"""
    for url in ("http://127.0.0.1:1/a.png", "http://169.254.169.254/latest", "file:///etc/hosts"):
        _refused(t, url)


@declared("field-images-roles")
def of_the_system(t: Target) -> None:
    """A picture in a system message: 400"""
    part = {"type": "image_url", "image_url": {"url": _url(_png())}}
    answer = _asked(t, [{"role": "system", "content": [part]}, *t.said("Hi")])
    expect.refused(answer, 400, "INVALID_PARAMETER")


@declared("field-images-other-apis")
def of_other_apis(t: Target) -> None:
    """/v1/responses and /v1/messages read the same picture"""
    model, data = _model(t), base64.b64encode(_png()).decode()
    text, url = {"type": "input_text", "text": "What is it?"}, _url(_png())
    parts = [text, {"type": "input_image", "image_url": url}]
    body = {"model": model, "input": [{"role": "user", "content": parts}], "max_output_tokens": 4}
    told = expect.ok(t.post(RESPONSES, body))["usage"]["input_tokens"]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    turn = [{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}]
    body = {"model": model, "messages": [{"role": "user", "content": turn}], "max_tokens": 4}
    usage = expect.ok(t.post(MESSAGES, body))["usage"]
    read = usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)
    billed = expect.ok(_seen(t, url))["usage"]["prompt_tokens"]
    expect.equal("input tokens of both", [told, read], [billed, billed])


def _model(t: Target) -> str:
    if t.options.vision_model is None:
        raise Skipped("no --vision-model was given")
    return t.options.vision_model


def _messages(url: Any) -> list[dict[str, Any]]:
    """`url` in a dict under "": image_url is a string."""
    image = url[""] if isinstance(url, dict) else {"url": url}
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": image}]
    return [{"role": "user", "content": parts}]


def _asked(t: Target, messages: list[dict[str, Any]]) -> Any:
    return t.chat(model=_model(t), messages=messages, **FIXED)


def _seen(t: Target, url: Any) -> Any:
    return _asked(t, _messages(url))


def _refused(t: Target, url: str) -> None:
    error = expect.refused(_seen(t, url), 400, "INVALID_PARAMETER")
    expect.equal("error.param", error.get("param"), FIELD)
    expect.that(len(str(error)) < 2000, "a short refusal", len(str(error)))


def _url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _png(side: int = 64, *, is_whole: bool = True) -> bytes:
    """Black, one bit a pixel."""
    rows = bytes(1 + (side + 7) // 8) * (side if is_whole else 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*each) for each in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
