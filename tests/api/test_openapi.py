"""/openapi.json says what the contract says, and what the server does; /docs needs no network."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.routing import Route

from engines.base import Reasoning
from engines.fleet.fleet import Fleet
from engines.testing.scripted import ScriptedEngine
from server.accounts.auth import KeyRing
from server.api.endpoint import KeyedEndpoint
from server.api.joined.link import PATH as JOIN
from server.api.openapi import examples
from server.api.openapi.route import DescribedRoute
from server.api.operations import OPERATIONS
from server.app import FjordApp, create_app
from server.http.request_log import RequestLog
from server.ledger.ledger import Ledger
from server.settings import Settings
from tests.support.paths import ROOT
from tests.support.serving import Served, registry_of, scripted, server_of

CONTRACT = ROOT / "docs/contract.md"
ALIASES = ("mixtral-8x7b", "qwen3-80b-instruct", "deepseek-v3")

served = server_of(
    *(scripted(alias) for alias in ALIASES),
    scripted("qwen3-235b-thinking", reasoning=Reasoning(), reasoning_text="Norway, so Oslo."),
    scripted("all-minilm-l6-v2", task="embed"),
    scripted("bge-reranker", task="rerank"),
    scripted("tools", tool_parser="hermes"),
)


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    r = httpx.get(served.url + "/openapi.json", timeout=60)
    assert r.headers["content-type"] == "application/json"
    found: dict[str, Any] = r.json()
    return found


def fields(document: dict[str, Any], model: str) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"][model]["properties"]
    return found


def refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(ref := part.get("$ref"), str):
            yield ref
        for value in part.values():
            yield from refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from refs(value)


def check(document: dict[str, Any], model: str, answer: Any) -> None:
    """The answer fits the schema that the document has for it."""
    schema = {"$ref": f"#/components/schemas/{model}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for ref in set(refs(document)):
        part = document
        for step in ref.removeprefix("#/").split("/"):
            part = part[step]
        assert part
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_path_that_is_served_is_described(served: Served, document: dict[str, Any]) -> None:
    for path in [p for o in OPERATIONS for p in o.paths]:
        assert path in document["paths"]
        r = httpx.options(served.url + path)
        assert r.status_code == 405, path
        methods = {o.method for o in OPERATIONS if path in o.paths}
        assert set(document["paths"][path]) == methods
        assert set(r.headers["allow"].lower().split(", ")) - {"head"} <= methods


@pytest.fixture
def app(tmp_path: Path) -> FjordApp:
    """An application that nobody has started."""
    registry = registry_of(scripted())
    fleet = Fleet(registry.models.values(), ScriptedEngine)
    ledger = Ledger.open(tmp_path, node="n")
    made = create_app(Settings(data_dir=tmp_path), registry, fleet, ledger, KeyRing()).app
    assert isinstance(made, FjordApp)
    return made


def test_routing_metrics_and_document_come_of_one_table(app: FjordApp) -> None:
    described = [r for r in app.routes if isinstance(r, DescribedRoute)]
    others = {r.path for r in app.routes if isinstance(r, Route) and r not in described}
    assert {r.path_format for r in described} == {path for o in OPERATIONS for path in o.paths}
    apart = ("/admin/v1/", "/console")  # the console is for people: no program's document has it
    assert {path for path in others if not path.startswith(apart)} == {
        "/openapi.json",
        "/docs",
        "/docs/{name}",
    }
    for operation in (o for o in OPERATIONS if o.needs_key):
        first, *rest = (
            r.app
            for r in described
            if r.path_format in operation.paths and operation.method.upper() in r.methods
        )
        assert isinstance(first, KeyedEndpoint)
        assert first.endpoint == operation.tag
        assert all(other is first for other in rest)


def test_the_contracts_page_lists_every_path_and_its_method() -> None:
    rows = re.findall(r"^\| `(?:GET|POST|DELETE) /.*$", CONTRACT.read_text(), re.MULTILINE)
    listed = set()
    for row in rows:
        paths = re.findall(r"`(?:GET |POST |DELETE )?(/[^`]*)`", row)
        listed |= {(row[3:].split()[0].lower(), path.replace("{id}", "{model}")) for path in paths}
    told = {(o.method, path) for o in OPERATIONS for path in o.paths}
    assert listed == told | {("get", "/docs"), ("get", "/openapi.json")}


@pytest.mark.anyio
async def test_what_answers_is_past_fastapi_and_its_middleware(app: FjordApp) -> None:
    apart = ("files", "batches", "conversations")
    hot = [o for o in OPERATIONS if o.needs_key and o.tag not in apart]
    served_hot = {p for o in hot for p in o.paths if "{" not in p}
    assert set(app.hot) == served_hot | {JOIN}
    transport = httpx.ASGITransport(RequestLog(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://fjord") as client:
        assert (await client.post(JOIN)).status_code == 403
        for path, endpoint in app.hot.items():
            if path == JOIN:
                continue
            assert isinstance(endpoint, KeyedEndpoint)
            assert (await client.request(endpoint.method, path)).status_code == 401
    assert app.middleware_stack is None  # FastAPI makes it at the first call that it gets


def test_fields_have_the_contracts_defaults_and_ranges(document: dict[str, Any]) -> None:
    chat = fields(document, "ChatRequest")
    assert set(document["components"]["schemas"]["ChatRequest"]["required"]) == {
        "model",
        "messages",
    }
    assert {
        n: chat[n].get("default") for n in ("stream", "temperature", "max_tokens", "top_p")
    } == {
        "stream": False,
        "temperature": 0.7,
        "max_tokens": 1000,
        "top_p": 1.0,
    }
    for name, least, most in [
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
        ("n", 1, 16),
        ("top_logprobs", 0, 20),
    ]:
        number, null = chat[name]["anyOf"]
        assert (number["minimum"], number["maximum"]) == (least, most), name
        assert null == {"type": "null"}
    assert fields(document, "CompletionRequest")["max_tokens"]["default"] == 16


def test_every_field_of_a_body_is_explained(document: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        if operation.body is not None:
            for name, schema in fields(document, operation.body.__name__).items():
                assert schema.get("description"), (operation.body.__name__, name)


def test_the_pages_examples_are_there_and_work(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]
    told = body["content"]["application/json"]["examples"]
    assert {name: e["value"] for name, e in told.items()} == examples.CHAT
    for operation in OPERATIONS:
        for example in operation.requests.values():
            r = client.post(operation.paths[0], json=example)
            assert r.status_code == 200, r.text
            if operation.answer is not None and not example.get("stream"):
                check(document, operation.answer.__name__, r.json())


def test_answers_of_every_kind_fit_their_schemas(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    ask: dict[str, Any] = {
        "model": "qwen3-235b-thinking",
        "messages": [{"role": "user", "content": "x"}],
    }
    logprobs = {"logprobs": True, "top_logprobs": 2, "n": 2}
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    tools = {
        "model": "tools",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
    }
    for change in ({}, logprobs, tools):
        body = ask | change
        check(document, "ChatCompletion", client.post("/v1/chat/completions", json=body).json())
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        text = client.post("/v1/chat/completions", json=body | asked).text
        for line in text.split("\n\n")[:-2]:
            check(document, "ChatCompletionChunk", json.loads(line.removeprefix("data: ")))
    response = {"model": "qwen3-235b-thinking", "input": "x", "top_logprobs": 1}
    check(document, "Response", client.post("/v1/responses", json=response).json())
    text = client.post("/v1/responses", json=response | {"stream": True}).text
    for block in text.strip().split("\n\n"):
        event = json.loads(block.split("\n")[1].removeprefix("data: "))
        check(document, "ResponseEvent", event)
    legacy = {"model": "mixtral-8x7b", "prompt": ["a b", "c"], "logprobs": 1}
    for body in (legacy, legacy | {"echo": True}):
        check(document, "Completion", client.post("/v1/completions", json=body).json())
    check(document, "ModelList", client.get("/v1/models?details=true").json())
    check(document, "Readiness", client.get("/ready").json())


def test_integers_stay_integers_and_nothing_of_ours_shows_in_a_name(
    document: dict[str, Any],
) -> None:
    seed, _ = fields(document, "ChatRequest")["seed"]["anyOf"]
    assert (seed["minimum"], seed["maximum"]) == (-(2**63), 2**63 - 1)
    assert type(seed["maximum"]) is int
    assert "default" in fields(document, "ChatRequest")["seed"]
    names = set(document["components"]["schemas"])
    assert not [name for name in names if "server" in name or "Validation" in name]
    assert "HTTPValidationError" not in json.dumps(document["paths"])


def test_keys_are_told_where_they_are_taken(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            names = [p["name"] for p in operation.get("parameters", [])]
            takes = "Idempotency-Key" in names
            assert takes is ("422" in operation["responses"]), path
    taking = {p for p, m in document["paths"].items() if "Idempotency-Key" in json.dumps(m)}
    assert {"/v1/chat/completions", "/v1/batches", "/v1/messages", "/api/embed"} <= taking
    assert {"/v1/files", "/v1/audio/transcriptions", "/v1/audio/translations"} <= taking
    assert not {"/v1/files/{file_id}", "/v1/tokenize", "/api/show"} & taking


def test_every_error_is_told_and_fits_the_one_body(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    told = document["components"]["responses"]
    assert set(told) == {"400", "401", "402", "403", "404", "405", "409", "413", "415",
                         "422", "429", "500", "503", "504"}  # fmt: skip
    for response in told.values():
        for example in response["content"]["application/json"]["examples"].values():
            check(document, "Error", example["value"])
    for r in (
        client.post("/v1/chat/completions", json={}),
        client.post("/v1/chat/completions", json={"model": "no", "messages": [1]}),
        client.get("/v1/models/no"),
        client.get("/nowhere"),
        httpx.get(client.base_url.join("/v1/models")),
    ):
        check(document, "Error", r.json())


def test_both_key_headers_are_told(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["X-API-Key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert schemes["Bearer"] == {"type": "http", "scheme": "bearer"}
    operation = document["paths"]["/v1/chat/completions"]["post"]
    assert operation["security"] == [{"X-API-Key": []}, {"Bearer": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "X-API-Key: $FJORD_KEY" in operation["x-codeSamples"][0]["source"]


def test_docs_are_served_by_us_alone(served: Served, tmp_path: Path) -> None:
    page = httpx.get(served.url + "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "//" not in re.sub(r"<!.*?>", "", page.text)
    links = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(links) == 2
    for link in links:
        r = httpx.get(f"{served.url}/{link}")
        assert r.status_code == 200
        assert len(r.content) > 50_000
        assert re.match("text/(css|javascript)", r.headers["content-type"])
    assert httpx.get(served.url + "/docs/..%2fcore.py").status_code == 404
    assert httpx.get(served.url + "/docs/redoc.standalone.js").status_code == 404
