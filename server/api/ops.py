"""/health, /ready and /metrics: for load balancers, orchestrators and Prometheus; no key needed."""

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from engines.fleet.fleet import EngineStatus
from server.api.endpoint import Endpoint
from server.api.services import Services
from server.metrics import CONTENT_TYPE


def health(services: Services, tag: str) -> Endpoint:
    """The process lives and its event loop turns; says nothing of models."""

    async def answer(request: Request) -> Response:
        return _json(200, {"status": "ok"})

    return request_response(answer)


def ready(services: Services, tag: str) -> Endpoint:
    """Every preloaded model serves, and new work is taken; else 503 and which part does not."""

    async def answer(request: Request) -> Response:
        refused = services.refusals()
        is_ready = services.fleet.is_ready() and not refused
        return _json(
            200 if is_ready else 503,
            {
                "status": "ready" if is_ready else "not ready",
                "engines": [_shown(engine) for engine in services.fleet.statuses()],
                "refusing": refused,
                "notes": services.ledger.notes(),
            },
        )

    return request_response(answer)


def scrape(services: Services, tag: str) -> Endpoint:
    """The exposition of all metrics."""

    async def answer(request: Request) -> Response:
        return Response(services.metrics.render(), media_type=CONTENT_TYPE)

    return request_response(answer)


def _shown(engine: EngineStatus) -> dict[str, Any]:
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
    if engine.reason is None:
        return None
    what = "could not be loaded" if engine.state == "failed" else "broke and is replaced"
    return f"It {what}; the server's log says why."


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
