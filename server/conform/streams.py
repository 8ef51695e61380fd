"""Checks: the form of a streamed answer."""

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import FIXED, Target
from server.conform.unmet import Unmet


@documented("stream-sse")
def content_type(t: Target) -> None:
    """A stream is text/event-stream"""
    expect.status(t.streamed, 200)
    kind = t.streamed.headers.get("content-type", "")
    expect.that(kind.startswith("text/event-stream"), "text/event-stream", kind)


@documented("stream-sse")
def events(t: Target) -> None:
    """Every line is data: {json}, a comment, or empty"""
    expect.that(not t.streamed.strange_lines, "data lines alone", t.streamed.strange_lines)
    for chunk in t.streamed.chunks:
        expect.equal("object", chunk.get("object"), "chat.completion.chunk")


@documented("stream-done")
def done(t: Target) -> None:
    """The last event is [DONE], and there is one"""
    expect.equal("the last event", t.streamed.events[-1:], ["[DONE]"])
    expect.equal("[DONE]s", t.streamed.events.count("[DONE]"), 1)
    expect.that(t.streamed.raw.endswith(b"\n\n"), "an empty line at the end", t.streamed.raw[-20:])


@documented("stream-choices")
def every_chunk_has_a_choice(t: Target) -> None:
    """chunk.choices[0] is there in every chunk, where usage was not asked for"""
    for chunk in t.streamed.chunks:
        expect.that(bool(chunk.get("choices")), "a choice", chunk)


@declared("stream-headers")
def headers(t: Target) -> None:
    """Cache-Control: no-cache, X-Accel-Buffering: no"""
    seen = t.streamed.headers
    expect.equal("Cache-Control", seen.get("cache-control"), "no-cache")
    expect.equal("X-Accel-Buffering", seen.get("x-accel-buffering"), "no")


@declared("stream-first")
def first_chunk(t: Target) -> None:
    """The first chunk is the role with an empty content"""
    first = t.streamed.choices()[0]
    expect.equal("delta", first["delta"], {"role": "assistant", "content": ""})
    expect.equal("finish_reason", first.get("finish_reason", "absent"), None)


@declared("stream-last")
def last_chunk(t: Target) -> None:
    """The last chunk is delta {} with the finish_reason, the only one"""
    *before, last = t.streamed.choices()
    expect.equal("delta", last["delta"], {})
    expect.one_of("finish_reason", last["finish_reason"], ("stop", "length"))
    early = [c["finish_reason"] for c in before if c.get("finish_reason")]
    expect.that(not early, "no finish_reason before", early)


@declared("stream-shared")
def shared_members(t: Target) -> None:
    """All chunks share id, created and model"""
    seen = {(c.get("id"), c.get("created"), c.get("model")) for c in t.streamed.chunks}
    expect.that(len(seen) == 1, "one id, created, model", seen)
    answer_id, _, model = seen.pop()
    expect.that(str(answer_id).startswith("chatcmpl-"), "chatcmpl-…", answer_id)
    expect.equal("model", model, t.model)


@declared("stream-members")
def nothing_else(t: Target) -> None:
    """No member that the contract does not name"""
    allowed = {"id", "object", "created", "model", "choices", "model_output_metadata"}
    parts = {"index", "delta", "finish_reason", "logprobs"}
    deltas = {"role", "content", "reasoning_content", "tool_calls"}
    strange: set[str] = set()
    for chunk in t.streamed.chunks:
        strange |= set(chunk) - allowed
        for c in chunk.get("choices", ()):
            strange |= (set(c) - parts) | (set(c["delta"]) - deltas)
    expect.that(not strange, "the members of the contract alone", sorted(strange))


@declared("stream-usage")
def usage_when_asked_for(t: Target) -> None:
    """include_usage: one last chunk with empty choices and the usage"""
    streamed = t.stream(stream_options={"include_usage": True})
    *before, last = streamed.chunks
    expect.equal("choices", last.get("choices"), [])
    usage = last.get("usage") or {}
    total = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    expect.equal("total_tokens", usage.get("total_tokens"), total)
    for chunk in before:
        expect.that(bool(chunk["choices"]) and not chunk.get("usage"), "no usage before", chunk)


@declared("stream-usage")
def no_usage_unasked(t: Target) -> None:
    """Without include_usage no chunk has usage"""
    plain = t.stream(stream_options={"include_usage": False})
    for chunk in (*t.streamed.chunks, *plain.chunks):
        expect.that(not chunk.get("usage"), "no usage", chunk)


@declared("stream-usage", alone=True)
def usage_as_in_the_whole(t: Target) -> None:
    """The stream's usage is the whole answer's"""
    streamed = t.stream(**FIXED, max_tokens=8, stream_options={"include_usage": True})
    whole = expect.ok(t.chat(**FIXED, max_tokens=8))["usage"]
    seen = streamed.chunks[-1].get("usage") or {}
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        expect.equal(name, seen.get(name), whole[name])


@declared("stream-fold", alone=True)
def whole_is_the_fold_of_the_stream(t: Target) -> None:
    """At temperature 0 the stream's pieces make the whole answer"""
    choice = expect.choice(t.chat(**FIXED, max_tokens=16))
    streamed = t.stream(**FIXED, max_tokens=16)
    expect.equal("content", streamed.joined(), choice["message"]["content"])
    expect.equal("finish_reason", streamed.finish_reason(), choice["finish_reason"])


@declared("stream-refusal")
def refusal_before_the_first_byte(t: Target) -> None:
    """A refused stream is an HTTP status with a JSON body, no event"""
    for fields, status in (({"temperature": 3}, 400), ({"model": "no-such-model"}, 404)):
        answer = t.stream(**fields)
        expect.status(answer, status)
        kind = answer.headers.get("content-type", "")
        expect.that(kind.startswith("application/json"), "application/json", kind)


@documented("stream-sse")
def utf8(t: Target) -> None:
    """A stream is UTF-8, also where a character is many tokens"""
    streamed = t.stream(messages=t.said("Blåbærsyltetøy 🫐 你好 👩‍👩‍👧 ß"), max_tokens=16)
    expect.status(streamed, 200)
    try:
        streamed.raw.decode("utf-8", "strict")
    except UnicodeDecodeError as e:
        raise Unmet("UTF-8", str(e)) from None
    for text in (c["delta"].get("content") or "" for c in streamed.choices()):
        lone = any("\ud800" <= character <= "\udfff" for character in text)
        expect.that(not lone, "no half of a character", repr(text))


@declared("stream-usage-running")
def running_usage(t: Target) -> None:
    """With continuous_usage_stats every chunk has the usage so far, the last one all of it"""
    asked = {"include_usage": True, "continuous_usage_stats": True}
    *running, last = t.stream(**FIXED, max_tokens=6, stream_options=asked).chunks
    for usage in (chunk.get("usage") or {} for chunk in (*running, last)):
        total = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
        expect.equal("total_tokens", usage.get("total_tokens"), total)
    counts = [chunk["usage"]["completion_tokens"] for chunk in running]
    expect.equal("counts", counts, sorted(counts))
    expect.equal("the last one", counts[-1], last["usage"]["completion_tokens"])
    answer = t.stream(stream_options={"continuous_usage_stats": 1})
    expect.status(answer, 400)
