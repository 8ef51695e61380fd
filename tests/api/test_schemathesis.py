"""Bodies made from /openapi.json itself: no 5xx, no answer that the document does not tell of."""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import CHECKS, load_all_checks

from engines.base import Reasoning
from server.api.chat.wire_thinking import BudgetFields, ThinkingFields
from server.api.openapi.operation import Operation
from server.api.operations import OPERATIONS
from tests.support.serving import Served, scripted, server_of

CASES, OF_OTHER_NAMES = 100, 20
"""Bodies of an operation by its first path and by each other one, good ones and bad ones apart."""
ANSWER_S = 60.0
"""It gives up after 10 s by itself, which a busy machine may take for the whole document."""
WITH_BODY = [
    (o, path)
    for o in OPERATIONS
    for path in o.paths
    if o.body is not None and not path.startswith("/v1/conversations/")
]
APART = ("/v1/files/", "/v1/batches/", "/v1/responses/", "/v1/conversations/")
"""What is there only once something was made."""
WITHOUT_BODY = [
    (o, path)
    for o in OPERATIONS
    for path in o.paths
    if o.body is None and o.raw_body is None and not path.startswith(APART)
]
KINDS = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)

REFUSED = {"/api/create", "/api/copy", "/api/push", "/api/delete"}
"""Whatever the body."""
THINKING = (
    *BudgetFields.model_fields,
    *ThinkingFields.model_fields,
    *("reasoning", "reasoning_effort", "verbosity"),
)
SMALL = {"output_tokens": 64}
UNLIMITED = {"requests_per_minute": 10**6, "concurrent": 100}
served = server_of(
    scripted("generates", reasoning=Reasoning(), reasoning_text="So.", **SMALL),
    scripted("embeds", task="embed", **SMALL),
    scripted("reranks", task="rerank", **SMALL),
    settings=UNLIMITED,
)


@pytest.fixture(scope="module")
def schema(served: Served) -> Any:
    return schemathesis.openapi.from_url(served.url + "/openapi.json", timeout=ANSWER_S)


@pytest.fixture(scope="module")
def checks() -> list[Any]:
    load_all_checks()
    return [
        CHECKS.get_one(name)
        for name in (
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
        )
    ]


def _alias(path: str) -> str:
    if path.endswith(("/rerank", "/score")):
        return "reranks"
    return "embeds" if "/embed" in path else "generates"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.value))
@pytest.mark.parametrize(
    ("operation", "path"), WITH_BODY, ids=lambda x: x if isinstance(x, str) else ""
)
def test_bodies_from_the_document_get_answers_from_the_document(
    served: Served, schema: Any, checks: list[Any], operation: Operation, path: str, kind: Any
) -> None:
    alias = _alias(path)
    cases = schema[path][operation.method.upper()].as_strategy(generation_mode=kind)
    answers: Counter[int] = Counter()
    is_first = path == operation.paths[0] and path not in REFUSED
    wanted = CASES if is_first else OF_OTHER_NAMES

    @seeded(2026)
    @settings(
        max_examples=wanted,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = alias
        if isinstance(case.body, dict) and kind is schemathesis.GenerationMode.POSITIVE:
            leave_one_word(case.body, answers.total())
            if answers.total() % 4 == 0:
                leave_what_is_required(case.body, operation)
        response = case.call_and_validate(headers=served.headers, checks=checks, timeout=ANSWER_S)
        answers[response.status_code] += 1

    ask()
    assert answers.total() >= wanted
    if kind is schemathesis.GenerationMode.POSITIVE and wanted == CASES:
        assert answers[200] > 0, answers


def leave_one_word(body: dict[str, Any], number: int) -> None:
    """Of the many for thinking, which a body drawn at random has differ: that is a 400."""
    kept = THINKING[number % len(THINKING)]
    for name in THINKING:
        if name != kept:
            body.pop(name, None)


def leave_what_is_required(body: dict[str, Any], operation: Operation) -> None:
    """Of twenty fields at once one is refused almost always: some bodies are to be answered."""
    assert operation.body is not None
    for name, field in operation.body.model_fields.items():
        if not field.is_required():
            body.pop(name, None)


@pytest.mark.parametrize(
    ("operation", "path"), WITHOUT_BODY, ids=lambda x: x if isinstance(x, str) else ""
)
def test_paths_without_a_body_answer_as_the_document_says(
    served: Served, schema: Any, checks: list[Any], operation: Operation, path: str
) -> None:
    case = schema[path][operation.method.upper()].Case()
    if "{model}" in path:
        case.path_parameters = {"model": "generates"}
    case.call_and_validate(headers=served.headers, checks=checks, timeout=ANSWER_S)
