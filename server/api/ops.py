"""/health, /ready and /metrics: for load balancers, orchestrators and Prometheus; no key needed."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from typing_extensions import TypedDict

from engines.fleet.status import EngineStatus
from engines.fleet.view import State
from server.api.endpoint import Endpoint
from server.api.services import Services
from server.metrics import CONTENT_TYPE

DRAIN_RETRY = "5"
"""Seconds after which /ready of a server that drains is worth another look."""


class Health(TypedDict):
    status: Literal["ok"]


class EngineState(TypedDict):
    engine: str
    aliases: Sequence[str]
    state: State
    for_s: float
    reason: str | None
    preload: bool
    requests: int
    waiting: int
    restarts: int


class Readiness(TypedDict):
    status: Literal["ready", "not ready"]
    engines: list[EngineState]
    refusing: Annotated[dict[str, str], Field(description="Part -> why new work is refused")]
    notes: Annotated[
        dict[str, str], Field(description="Part -> what to look after though work goes on")
    ]


def health(services: Services, tag: str) -> Endpoint:
    """The process lives and its event loop turns; says nothing of models."""

    async def answer(request: Request) -> Response:
        body: Health = {"status": "ok"}
        return _json(200, body)

    return request_response(answer)


def ready(services: Services, tag: str) -> Endpoint:
    """Every preloaded model serves, and new work is taken; else 503 and which part does not."""

    async def answer(request: Request) -> Response:
        refused = services.refusals()
        is_ready = services.fleet.is_ready() and not refused
        body: Readiness = {
            "status": "ready" if is_ready else "not ready",
            "engines": [_shown(engine) for engine in services.fleet.statuses()],
            "refusing": refused,
            "notes": services.ledger.notes(),
        }
        answer = _json(200 if is_ready else 503, body)
        if "drain" in refused:
            answer.headers["Retry-After"] = DRAIN_RETRY
        return answer

    return request_response(answer)


def scrape(services: Services, tag: str) -> Endpoint:
    """The exposition of all metrics."""

    async def answer(request: Request) -> Response:
        await services.disk_space.read()
        return Response(services.metrics.render(), media_type=CONTENT_TYPE)

    return request_response(answer)


def _shown(engine: EngineStatus) -> EngineState:
    """An engine without its source, and without its own words for what went wrong: paths, hosts
    and a library's texts are not for everybody. The log has them."""
    return {
        "engine": engine.key,
        "aliases": engine.aliases,
        "state": engine.state,
        "for_s": round(time.time() - engine.since, 1),
        "reason": _reason(engine),
        "preload": engine.is_preloaded,
        "requests": engine.leases,
        "waiting": engine.waiting,
        "restarts": engine.restarts,
    }


def _reason(engine: EngineStatus) -> str | None:
    if engine.waits_for is not None:
        return "It waits for another machine; the server's log says for what."
    if engine.reason is None:
        return None
    what = "could not be loaded" if engine.state == "failed" else "broke and is replaced"
    return f"It {what}; the server's log says why."


def _json(status: int, body: Any) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
