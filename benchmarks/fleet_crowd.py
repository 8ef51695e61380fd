"""Clients of all models of a fleet, who write down how each of their requests ended."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.fleet_site import ALIASES

PATIENCE_S = 900.0
"""No client gives up before the server does."""
MOST_TOKENS = 64
PAUSE_S = 1.0
_DONE = "[DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One request. `end`: done, cut (an error inside a stream), or the status of a refusal."""

    alias: str
    request_id: str
    end: str
    wait_s: float
    """Until the first token, or the whole answer, or the refusal."""
    pieces: int
    """Chunks with text in them; 1 for a whole answer."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """What the answer itself says; None where it does not."""


class Improper(Exception):
    """A request ended as none may."""


class Crowd:
    """`streams` clients, each with one request at a time of a model drawn anew."""

    def __init__(
        self,
        port: int,
        key: str,
        streams: int,
        drawn: random.Random,
        aliases: Sequence[str] = ALIASES,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`pause_s`: of a client that was refused."""
        self._aliases, self._pause_s = aliases, pause_s
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._headers = {"X-API-Key": key}
        self._streams = streams
        self._drawn = drawn
        self.ended: list[Ended] = []
        self.wrong: list[str] = []

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Returns when the last request that began while it `goes_on` has ended."""
        client = httpx.AsyncClient(headers=self._headers, timeout=PATIENCE_S)
        async with client, asyncio.TaskGroup() as tasks:
            for number in range(self._streams):
                first = self._aliases[number % len(self._aliases)]
                tasks.create_task(self._ask(client, first, goes_on))

    async def _ask(
        self, client: httpx.AsyncClient, alias: str, goes_on: Callable[[], bool]
    ) -> None:
        """First `alias`, so that every model is asked for, then a model drawn anew each time."""
        while goes_on():
            body = self._body(alias)
            alias = self._drawn.choice(self._aliases)
            try:
                ended = await asked(client, self._url, body)
            except (httpx.HTTPError, Improper) as error:
                self.wrong.append(f"{body['model']}: {type(error).__name__} {error}"[:300])
                await asyncio.sleep(self._pause_s)
                continue
            self.ended.append(ended)
            if ended.end != "done":
                await asyncio.sleep(self._pause_s)

    def _body(self, alias: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": alias,
            "messages": [{"role": "user", "content": f"Say {self._drawn.random()}"}],
            "max_tokens": self._drawn.randint(1, MOST_TOKENS),
            "ignore_eos": True,
        }
        if self._drawn.random() < 0.5:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


async def asked(
    client: httpx.AsyncClient,
    url: str,
    body: dict[str, Any],
    begun: Callable[[], None] = lambda: None,
) -> Ended:
    """Raises Improper where the answer has no proper end, httpx.HTTPError where it is cut. `begun`
    is called when the answer begins: a stream's, with its first token."""
    began = time.monotonic()
    async with client.stream("POST", url, json=body) as response:
        name = response.headers.get("x-request-id", "")
        if response.status_code == 200 and body.get("stream"):
            return await _streamed(response, body["model"], name, began, begun)
        begun()
        answer = json.loads(await response.aread())
        wait_s = time.monotonic() - began
    if response.status_code == 200:
        usage = answer["usage"]
        return Ended(
            alias=body["model"],
            request_id=name,
            end="done",
            wait_s=wait_s,
            pieces=1,
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
        )
    if "code" not in answer.get("error", {}):
        raise Improper(f"{response.status_code} without an error: {answer}")
    end = f"{response.status_code} {answer['error']['code']}"
    return Ended(alias=body["model"], request_id=name, end=end, wait_s=wait_s, pieces=0)


async def _streamed(
    response: httpx.Response, alias: str, name: str, began: float, begun: Callable[[], None]
) -> Ended:
    pieces, wait_s, usage, error, last = 0, 0.0, None, None, ""
    async for last in _data(response):
        if not wait_s:
            begun()
        chunk = {} if last == _DONE else json.loads(last)
        wait_s = wait_s or time.monotonic() - began
        pieces += any(c["delta"].get("content") for c in chunk.get("choices", []))
        usage = chunk.get("usage") or usage
        error = chunk.get("error") or error
    if error is None and (last != _DONE or usage is None):
        raise Improper(f"a stream ends with {last[:100]!r} and {usage=}")
    return Ended(
        alias=alias,
        request_id=name,
        end="done" if error is None else f"cut {error.get('code')}",
        wait_s=wait_s,
        pieces=pieces,
        prompt_tokens=usage["prompt_tokens"] if usage else None,
        completion_tokens=usage["completion_tokens"] if usage else None,
    )


async def _data(response: httpx.Response) -> AsyncIterator[str]:
    """Each event's data; comments are left out. httpx's own lines also end at U+2028 and others,
    which JSON may hold as they are, and a model without sense says."""
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                yield line[6:].decode()
