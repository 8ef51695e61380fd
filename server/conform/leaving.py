"""Checks: clients that leave early do no harm."""

import contextlib

import httpx

from server.conform import expect
from server.conform.check import declared
from server.conform.target import CHAT, MODELS, Target
from server.conform.unmet import Unmet

LONG = {"max_tokens": 200, "ignore_eos": True}


@declared("calm-leaving", alone=True)
def left_streams(t: Target) -> None:
    """Six streams left after their first bytes: the seventh request is answered"""
    for _ in range(6):
        with t.opened(CHAT, **LONG) as answer:
            expect.equal("status", answer.status_code, 200)
            next(answer.iter_raw(), b"")
    expect.content(t.chat(max_tokens=2))


@declared("calm-leaving", alone=True)
def left_whole_answers(t: Target) -> None:
    """Three whole answers not waited for: the fourth request is answered"""
    for _ in range(3):
        with contextlib.suppress(httpx.TimeoutException):
            t.http.post(CHAT, json=t.body(**LONG), headers=t.auth, timeout=0.1)
    expect.content(t.chat(max_tokens=2))


@declared("calm-leaving", alone=True)
def healthy_at_the_end(t: Target) -> None:
    """After all this the server lists its models and says what it said"""
    expect.status(t.get(MODELS), 200)
    if not expect.content(t.chat(max_tokens=8)) and expect.content(t.whole):
        raise Unmet("a text", "none")
