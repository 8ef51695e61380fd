"""Checks: the headers of answers: request id and rate limit."""

import time
from collections.abc import Mapping
from typing import Final

import httpx

from server.conform import expect
from server.conform.check import declared, documented
from server.conform.target import MODELS, Target
from server.conform.unmet import Unmet

RATE: Final = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@declared("head-request-id")
def request_id(t: Target) -> None:
    """X-Request-Id is on every answer, each its own"""
    answers = (t.get(MODELS), t.chat(), t.chat(temperature=9), t.get(MODELS, {}), t.get("/v1/x"))
    ids = [a.headers.get("x-request-id") for a in (*answers, t.streamed)]
    expect.that(all(ids) and len(set(ids)) == len(ids), "six different ids", ids)


@declared("head-request-id")
def own_request_id(t: Target) -> None:
    """A client's own X-Request-Id comes back"""
    answer = t.get(MODELS, t.auth | {"X-Request-Id": "conform-1"})
    expect.equal("X-Request-Id", answer.headers.get("x-request-id"), "conform-1")


@documented("head-rate")
def rate_limit_of_chat(t: Target) -> None:
    """X-RateLimit-Limit, -Remaining and -Reset are on an answer and on a stream"""
    for headers in (t.whole.headers, t.streamed.headers):
        _numbers(headers)


@documented("head-rate")
def rate_limit_of_models(t: Target) -> None:
    """… and on the models' list and on a refusal with a good key"""
    for answer in (t.get(MODELS), t.chat(temperature=9)):
        _numbers(answer.headers)


@documented("head-rate")
def reset_is_soon(t: Target) -> None:
    """X-RateLimit-Reset is a time in Unix seconds, within some minutes"""
    reset, now = _numbers(t.get(MODELS).headers)[2], time.time()
    expect.that(now - 60 <= reset <= now + 600, f"about {now:.0f}", reset)


@documented("head-rate", alone=True)
def remaining_falls(t: Target) -> None:
    """X-RateLimit-Remaining falls with every request"""
    for _ in range(10):  # an old request may leave the window between two, not every time
        one, two = (_numbers(_chat(t).headers)[1] for _ in range(2))
        if two < one:
            return
    raise Unmet(f"less than {one}", two)


def _chat(t: Target) -> httpx.Response:
    return t.chat(max_tokens=1)


def _numbers(headers: Mapping[str, str]) -> list[int]:
    seen = [headers.get(name, "") for name in RATE]
    expect.that(all(x.isdigit() for x in seen), "three numbers in X-RateLimit-*", seen)
    return [int(x) for x in seen]
