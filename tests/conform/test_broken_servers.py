"""What is broken is found: Fjord behind a proxy that spoils its answers; a server of nothing."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.conform.catalogue import all_checks
from server.conform.run import MOST_FAILURES, exit_status, run_checks
from server.conform.target import Options, reached
from tests.support.conforming import MODELS, topic_of, unmet
from tests.support.serving import Served, running, server_of

Mangle: TypeAlias = Callable[[str, httpx.Response], bytes]
served = server_of(*MODELS)


def _json(edit: Callable[[Any], object]) -> Mangle:
    """Spoils whole answers."""

    def mangle(path: str, answer: httpx.Response) -> bytes:
        if not answer.headers["content-type"].startswith("application/json"):
            return answer.content
        body = answer.json()
        edit(body)
        return json.dumps(body).encode()

    return mangle


def _stream(edit: Callable[[bytes], bytes]) -> Mangle:
    """Spoils streams."""

    def mangle(path: str, answer: httpx.Response) -> bytes:
        is_stream = answer.headers["content-type"].startswith("text/event-stream")
        return edit(answer.content) if is_stream else answer.content

    return mangle


def _edit_usage(body: Any) -> None:
    if "usage" in body:
        body["usage"]["total_tokens"] += 1


def _edit_error(body: Any) -> None:
    if "error" in body:
        body["error"]["code"] = 400
        body["error"].pop("details", None)


def _edit_param(body: Any) -> None:
    if "error" in body:
        body["error"]["param"] = None


def _edit_length(body: Any) -> None:
    if "error" in body:
        body["error"]["message"] *= 200


def _edit_tokens(body: Any) -> None:
    if "usage" in body:
        body["usage"]["prompt_tokens"] = int(body["id"][-6:], 16)


def _edit_stop(body: Any) -> None:
    for choice in body.get("choices", ()):
        if choice["finish_reason"] == "stop":
            choice["finish_reason"] = "abort"


def _edit_model(body: Any) -> None:
    for model in body.get("data", ()):
        model["owned_by"] = "somebody"


BROKEN: dict[str, tuple[Mangle, set[str]]] = {
    "usage that does not add up": (_json(_edit_usage), {"answers.usage"}),
    "an error code that is a number": (
        _json(_edit_error),
        {"errors.body", "errors.details", "ranges.temperature", "keys.no_key"},
    ),
    "a refusal that names no field": (
        _json(_edit_param),
        {"ends.temperature", "ends.seed", "ends.logit_bias", "hostile.more_than_a_list_holds"},
    ),
    "a refusal that repeats all it was sent": (
        _json(_edit_length),
        {
            "hostile.many_small_parts",
            "hostile.long_names_come_back_short",
            "hostile.forms_out_of_proportion",
        },
    ),
    "a count of its own": (_json(_edit_tokens), {"hostile.an_earlier_refusal_is_read"}),
    "a stream without its end": (
        _stream(lambda b: re.sub(rb'"finish_reason":"[a-z]+"', b'"finish_reason":null', b)),
        {"ends.max_tokens", "ends.top_p", "streams.last_chunk"},
    ),
    "an engine's own finish_reason": (
        _json(_edit_stop),
        {"answers.finish_reason", "choices.stop_string_ends_the_text"},
    ),
    "another owner": (_json(_edit_model), {"models.owner"}),
    "a fingerprint": (
        _json(lambda b: b.setdefault("system_fingerprint", "fp")),
        {"answers.no_system_fingerprint", "answers.nothing_else"},
    ),
    "no [DONE]": (_stream(lambda b: b.replace(b"data: [DONE]\n\n", b"")), {"streams.done"}),
    "a chunk without choices": (
        _stream(lambda b: b.replace(b"data: [DONE]", b'data: {"choices":[]}\n\ndata: [DONE]')),
        {"streams.every_chunk_has_a_choice", "streams.shared_members"},
    ),
    "a stream that drops a piece": (
        _stream(lambda b: b.replace(b'"content":" you"', b'"content":""')),
        {"streams.whole_is_the_fold_of_the_stream"},
    ),
    "a stream with a broken character": (
        _stream(lambda b: b.replace("ø".encode(), b"\xc3")),
        {"streams.utf8"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_server_is_found_out_and_by_the_right_checks(served: Served, fault: str) -> None:
    mangle, expected = BROKEN[fault]
    topics = {topic_of(name) for name in expected}
    chosen = [c for c in all_checks() if topic_of(c.id) in topics]
    with running(spoiling(served.url, mangle)) as url:
        options = Options(base_url=url, api_key=served.new_key())
        with reached(options) as target:
            found = unmet(run_checks(chosen, target))
    assert expected <= set(found), found
    assert len(found) < 0.8 * len(chosen), "it is not found by failing at everything"


def test_a_server_without_most_of_it_gets_verdicts_and_no_traceback() -> None:
    async def answer(request: Request) -> Response:
        return Response(b'{"data": [{"id": "m"}], "choices": "none", "error": 5}')

    anything = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    with running(anything) as url, reached(Options(base_url=url, api_key="k")) as target:
        results = run_checks(all_checks(), target)
    verdicts = {r.verdict for r in results}
    assert verdicts <= {"pass", "fail", "differs", "skipped"}
    assert exit_status(results) > 40
    assert exit_status(results, strict=True) == MOST_FAILURES


def spoiling(url: str, mangle: Mangle) -> Starlette:
    """A proxy to `url` that spoils what comes back."""
    client = httpx.AsyncClient(base_url=url, timeout=30, verify=False)

    async def pass_on(request: Request) -> Response:
        headers = {k: v for k, v in request.headers.items() if k != "host"}
        answer = await client.request(
            request.method, request.url.path, content=await request.body(), headers=headers
        )
        skipped = ("content-length", "content-encoding", "connection", "date", "server")
        kept = {k: v for k, v in answer.headers.items() if k not in skipped}
        return Response(mangle(request.url.path, answer), answer.status_code, headers=kept)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [Route("/{path:path}", pass_on, methods=["GET", "POST"])]
    return Starlette(routes=routes, lifespan=lifespan)
