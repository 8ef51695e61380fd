"""/health, /ready and /metrics: for load balancers, orchestrators and Prometheus; no key needed."""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engines.fleet.fleet import EngineStatus, Fleet
from server.metrics import CONTENT_TYPE, Metrics


def ops_routes(
    fleet: Fleet, metrics: Metrics, refusals: Callable[[], dict[str, str]]
) -> list[Route]:
    """`refusals`: why new work is refused though the engines are ready: part -> reason in words
    ({"ledger": "the disk is full"}, {"drain": "shutting down"}); empty when all is well."""

    async def health(request: Request) -> Response:
        """The process lives and its event loop turns; says nothing of models."""
        return _json(200, {"status": "ok"})

    async def ready(request: Request) -> Response:
        refused = refusals()
        is_ready = fleet.is_ready() and not refused
        return _json(
            200 if is_ready else 503,
            {
                "status": "ready" if is_ready else "not ready",
                "engines": [_shown(engine) for engine in fleet.statuses()],
                "refusing": refused,
            },
        )

    async def scrape(request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/ready", ready, methods=["GET"]),
        Route("/metrics", scrape, methods=["GET"]),
    ]


def _shown(engine: EngineStatus) -> dict[str, Any]:
    """An engine without its source: the path of somebody's weights is not for everybody."""
    return {
        "engine": engine.key,
        "aliases": engine.aliases,
        "state": engine.state,
        "for_s": round(time.time() - engine.since, 1),
        "reason": engine.reason,
        "preload": engine.is_preloaded,
        "requests": engine.leases,
        "waiting": engine.waiting,
        "restarts": engine.restarts,
    }


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
