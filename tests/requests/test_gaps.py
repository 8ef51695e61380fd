"""One client's body holds up nobody's stream: the worst ones, eight at once, beside 64 streams."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gap_site import AT_ONCE, BOUND_MS, Site
from engines.answers.form_bounds import MOST_SCHEMA_BYTES
from server.api.admin.gate import MOST_BODY_BYTES
from server.api.chat.request import structure
from server.api.chat.wire import ChatRequest
from server.api.decode import IN_A_THREAD_BYTES
from server.api.endpoint import ModelEndpoint
from server.api.ollama.wire import NamedModel
from server.api.operations import OPERATIONS
from server.errors import ApiError
from tests.support.paths import ROOT

WORST = (
    "lists of lists, 255 KB",
    "wide object, 60,000 members",
    "nested objects, 120 deep, many",
    "messages, 16,000",
    "not JSON, 8 MiB",
    "escapes, 8 MiB",
    "escaped quotes, 8 MiB",
    "backslashes, 8 MiB",
    "unknown fields, 30,000",
    "token ids to be embedded, as many as may be",
    "escapes, as many as may be",
    "8 MiB as a response's input",
    "a bias for a name of 8 MiB",
    "an unknown field's name of 8 MiB",
)
"""Gaps of 55 to 330 ms when several threads parsed them, the event loop did, or a thread that did
not give way."""
ANSWERS = (["200"], ["400 INVALID_PARAMETER"], ["400 CONTEXT_LENGTH_EXCEEDED"])
TRIES = 6
"""A busy machine takes the core from a thread that has the interpreter: the best try counts."""
PARSES = {"validate_json", "validate_strings", "loads", "decode_lines"}
MAY_PARSE = {
    "server/api/decode.py",
    "server/api/chat/request.py",  # a schema in a string, whose length is known
    "server/api/responses/output.py",  # what a model wrote
    "server/api/responses/custom_input.py",  # what a model wrote
    "server/api/responses/items.py",  # what is kept, which came this way
    "server/api/messages/blocks.py",  # what a model wrote
    "server/api/ollama/answers.py",  # what a model wrote
}
READS_BODIES = {
    "server/api/endpoint.py",
    "server/api/admin/gate.py",
    "server/api/batches/endpoints.py",  # 64 KiB at most
    "server/api/ollama/lists.py",  # 64 KiB at most
    "server/api/peer/door.py",  # another server's msgpack
    "server/api/memory/conversations.py",  # a request's most, decoded as one
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site("scripted", tmp_path_factory.mktemp("gaps")) as site:
        yield site


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("name", WORST)
def test_the_event_loop_is_never_kept_for_long(site: Site, name: str) -> None:
    kept_ms = []
    for _ in range(TRIES):
        result = site.posted(name, AT_ONCE)
        assert result.answers in (
            ["200"],
            ["400 INVALID_PARAMETER"],
            ["400 CONTEXT_LENGTH_EXCEEDED"],
        )
        kept_ms.append(result.loop.ours_ms)
        if kept_ms[-1] <= BOUND_MS:
            return
    pytest.fail(f"the event loop was kept for {kept_ms} ms")


def test_every_body_goes_the_bounded_way() -> None:
    """Its key, size and members are known before a byte of it is parsed."""
    with_body = [operation for operation in OPERATIONS if operation.body is not None]
    assert with_body
    for operation in with_body:
        kind: Any = getattr(operation.build, "func", operation.build)
        if operation.body is NamedModel:
            continue  # a model's name, within the bound of READS_BODIES
        if operation.tag == "conversations":
            continue  # no model is asked: as READS_BODIES says
        assert issubclass(kind, ModelEndpoint), operation.paths
        for name in ("serve", "_prepared", "_validated"):
            assert getattr(kind, name) is getattr(ModelEndpoint, name), (kind, name)
    assert IN_A_THREAD_BYTES <= MOST_BODY_BYTES <= 2 * IN_A_THREAD_BYTES


def test_nobody_else_reads_or_parses_a_body() -> None:
    for path in (ROOT / "server").rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        calls = called(path)
        if "exchange.body" in calls or "request.json" in calls or "request.body" in calls:
            assert place in READS_BODIES, f"{place} reads a body by itself"
        if place.startswith(("server/api", "server/http")):
            parsing = {call for call in calls if call.rpartition(".")[2] in PARSES}
            assert not parsing or place in MAY_PARSE, f"{place} parses by itself: {parsing}"


def called(path: Path) -> set[str]:
    """`name.method` of every call of a method."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {ast.unparse(call.func) for call in calls if isinstance(call.func, ast.Attribute)}


def test_a_schema_in_a_string_is_parsed_up_to_its_bound() -> None:
    long = "[" * (MOST_SCHEMA_BYTES + 1)
    wire = ChatRequest(
        model="m",
        messages=[{"role": "user", "content": "x"}],  # type: ignore[list-item]
        structured_outputs={"json": long},  # type: ignore[arg-type]
    )
    with pytest.raises(ApiError) as refused:
        structure(None, wire.structured_outputs)
    assert refused.value.param == "structured_outputs.json"
    assert refused.value.details is not None
    assert refused.value.details["expected"] == f"at most {MOST_SCHEMA_BYTES} characters"
