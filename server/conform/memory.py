"""Checks: kept responses and conversations, where a server has them."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import RESPONSES, Target
from server.conform.unmet import Skipped

CONVERSATIONS: Final = "/v1/conversations"
_NOBODY: Final = "resp_" + "0" * 32
_OVER: Final = ("completed", "failed", "cancelled", "incomplete")
_LOOK_S: Final = 0.2


def _asked(t: Target, **fields: Any) -> httpx.Response:
    body = {"model": t.model, "input": "Say hello.", "max_output_tokens": 16, "store": True}
    answer = t.post(RESPONSES, body | fields)
    if answer.status_code in (404, 405, 501):
        raise Skipped("this server has no responses")
    return answer


def _made(t: Target, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = expect.ok(_asked(t, **fields))
    if not made.get("store"):
        raise Skipped("this server keeps no responses")
    return made


def _kept(t: Target, **fields: Any) -> dict[str, Any]:
    """One that is found again."""
    made = _made(t, **fields)
    if t.get(f"{RESPONSES}/{made['id']}").status_code in (404, 405, 501):
        raise Skipped("this server keeps no responses")
    return made


def _deleted(t: Target, path: str) -> dict[str, Any]:
    found: dict[str, Any] = expect.ok(t.http.request("DELETE", path, headers=t.auth))
    return found


def _events(answer: httpx.Response) -> list[dict[str, Any]]:
    expect.status(answer, 200)
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line[6:]) for line in lines if line != "data: [DONE]"]


def _over(t: Target, response: Mapping[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + max(60.0, t.options.timeout_s)
    while True:
        found: dict[str, Any] = expect.ok(t.get(f"{RESPONSES}/{response['id']}"))
        if found["status"] in _OVER:
            return found
        expect.that(time.monotonic() < end, "a response that ends", found["status"])
        time.sleep(_LOOK_S)


def _conversation(t: Target, **fields: Any) -> dict[str, Any]:
    answer = t.post(CONVERSATIONS, fields)
    if answer.status_code in (404, 405, 501):
        raise Skipped("this server has no conversations")
    made: dict[str, Any] = expect.ok(answer)
    return made


@declared("memory-store")
def kept(t: Target) -> None:
    """a response with store is found again as it was"""
    made = _kept(t, metadata={"a": "b"})
    again = expect.ok(t.get(f"{RESPONSES}/{made['id']}"))
    for member in ("id", "status", "output", "usage", "metadata"):
        expect.equal(member, again.get(member), made.get(member))


@declared("memory-store")
def not_kept(t: Target) -> None:
    """with store false nothing is found again"""
    made = expect.ok(_asked(t, store=False))
    expect.equal("store", made["store"], False)
    expect.status(t.get(f"{RESPONSES}/{made['id']}"), 404)


@declared("memory-previous")
def gone_on_from(t: Target) -> None:
    """previous_response_id puts the earlier items before those of input"""
    first = _kept(t)
    second = _made(t, previous_response_id=first["id"], input="Again.")
    expect.equal("previous_response_id", second["previous_response_id"], first["id"])
    sent = [{"role": "user", "content": "Say hello."}, *first["output"]]
    whole = expect.ok(_asked(t, input=[*sent, {"role": "user", "content": "Again."}], store=False))
    got, wanted = second["usage"]["input_tokens"], whole["usage"]["input_tokens"]
    expect.equal("usage.input_tokens", got, wanted)


@declared("memory-previous")
def unknown_previous(t: Target) -> None:
    """an unknown previous_response_id is a 400 with the code that OpenAI's clients know"""
    _kept(t)
    answer = _asked(t, previous_response_id=_NOBODY)
    expect.status(answer, 400)
    error = answer.json()["error"]
    expect.equal("error.code", error["code"], "previous_response_not_found")
    expect.equal("error.param", error["param"], "previous_response_id")


@declared("memory-events")
def told_again(t: Target) -> None:
    """a stream is told again, byte for byte, from any number on"""
    answer = _asked(t, stream=True)
    events = _events(answer)
    path = f"{RESPONSES}/{events[-1]['response']['id']}?stream=true"
    again = t.get(path)
    if again.status_code in (404, 405, 501):
        raise Skipped("this server keeps no responses")
    expect.equal("the same bytes", again.content == answer.content, True)
    after = len(events) // 2
    rest = _events(t.get(f"{path}&starting_after={after}"))
    expect.equal("the events after one", rest, events[after + 1 :])


@declared("memory-input-items")
def input_items(t: Target) -> None:
    """a response's input is listed, the newest first, page by page"""
    said = [{"role": "user", "content": word} for word in ("a", "b", "c")]
    path = f"{RESPONSES}/{_kept(t, input=said)['id']}/input_items"
    page = expect.ok(t.get(path))
    texts = [item["content"][0]["text"] for item in page["data"]]
    expect.equal("the newest first", texts, ["c", "b", "a"])
    rest = expect.ok(t.get(f"{path}?order=asc&limit=1&after={page['last_id']}"))
    expect.equal("one after the oldest", rest["data"][0]["content"][0]["text"], "b")
    expect.equal("has_more", rest["has_more"], True)
    expect.status(t.get(f"{path}?limit=101"), 400)


@declared("memory-delete")
def deleted(t: Target) -> None:
    """a deleted response is gone"""
    made = _kept(t)
    path = f"{RESPONSES}/{made['id']}"
    expect.equal("deleted", _deleted(t, path).get("deleted"), True)
    expect.status(t.get(path), 404)
    expect.status(_asked(t, previous_response_id=made["id"]), 400)


@declared("memory-background")
def background(t: Target) -> None:
    """a background response is answered at once, and complete in the end"""
    begun = _kept(t, background=True)
    expect.that(begun["status"] in ("queued", "in_progress"), "queued", begun["status"])
    done = _over(t, begun)
    expect.that(done["status"] in ("completed", "incomplete"), "completed", done["status"])
    expect.that(done["usage"]["output_tokens"] > 0, "its usage", done["usage"])


@declared("memory-background")
def background_needs_store(t: Target) -> None:
    """background without store is refused"""
    _kept(t)
    expect.status(_asked(t, background=True, store=False), 400)


@declared("memory-cancel")
def cancelled(t: Target) -> None:
    """a background response is cancelled; another kind is not"""
    begun = _kept(t, background=True, max_output_tokens=500)
    told = expect.ok(t.post(f"{RESPONSES}/{begun['id']}/cancel", {}))
    expect.that(told["status"] in _OVER, "cancelled", told["status"])
    expect.equal("again", expect.ok(t.post(f"{RESPONSES}/{begun['id']}/cancel", {})), told)
    expect.status(t.post(f"{RESPONSES}/{_made(t)['id']}/cancel", {}), 400)


@declared("memory-conversations")
def conversation(t: Target) -> None:
    """a conversation is made, told, changed and deleted"""
    made = _conversation(t, metadata={"a": "b"})
    path = f"{CONVERSATIONS}/{made['id']}"
    expect.equal("as it was", expect.ok(t.get(path)), made)
    changed = expect.ok(t.post(path, {"metadata": {"c": "d"}}))
    expect.equal("metadata", changed["metadata"], {"c": "d"})
    expect.equal("object", _deleted(t, path).get("object"), "conversation.deleted")
    expect.status(t.get(path), 404)


@declared("memory-items")
def conversation_items(t: Target) -> None:
    """a conversation's items are added, listed, told and deleted"""
    made = _conversation(t, items=[{"type": "message", "role": "user", "content": "a"}])
    path = f"{CONVERSATIONS}/{made['id']}/items"
    more = {"items": [{"type": "message", "role": "assistant", "content": "b"}]}
    expect.equal("added", len(expect.ok(t.post(path, more))["data"]), 1)
    page = expect.ok(t.get(f"{path}?order=asc"))
    texts = [item["content"][0]["text"] for item in page["data"]]
    expect.equal("in their order", texts, ["a", "b"])
    first = page["data"][0]
    expect.equal("one", expect.ok(t.get(f"{path}/{first['id']}")), first)
    _deleted(t, f"{path}/{first['id']}")
    expect.equal("the rest", len(expect.ok(t.get(path))["data"]), 1)


@declared("memory-conversations")
def conversation_grows(t: Target) -> None:
    """a response reads its conversation, and adds its input and output to it"""
    made = _conversation(t)
    response = _made(t, conversation=made["id"])
    expect.equal("conversation", response["conversation"]["id"], made["id"])
    page = expect.ok(t.get(f"{CONVERSATIONS}/{made['id']}/items?order=asc&limit=100"))
    expect.equal("items", len(page["data"]), 1 + len(response["output"]))
    both = _asked(t, conversation=made["id"], previous_response_id=response["id"])
    expect.status(both, 400)


@declared("memory-unknown")
def unknown(t: Target) -> None:
    """what is not kept is a 404 under every path"""
    _kept(t)
    for path in (f"{RESPONSES}/{_NOBODY}", f"{RESPONSES}/{_NOBODY}/input_items"):
        expect.status(t.get(path), 404)
    expect.status(t.post(f"{RESPONSES}/{_NOBODY}/cancel", {}), 404)
    expect.status(t.http.request("DELETE", f"{RESPONSES}/{_NOBODY}", headers=t.auth), 404)
    expect.status(t.get(f"{CONVERSATIONS}/conv_{'0' * 32}"), 404)
    body = {"model": t.model, "input": "x", "store": True, "conversation": f"conv_{'0' * 32}"}
    expect.status(t.post(RESPONSES, body), 404)
