"""The chat's way to a server: models, and one answer as a stream of pieces. Speaks HTTP only."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from engines.registry.exact import MICRO, micro_units
from server.cli.link import Link

TIMEOUT = httpx.Timeout(10.0, read=600.0)
"""A model may load while the first byte is awaited."""

NO_KEY = " Give one with --api-key or FJORD_API_KEY."


class ChatFailed(Exception):
    """In one line: what the server said, or why it could not be asked."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one chunk of an answer brought."""

    content: str = ""
    reasoning: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """Micro-units of `currency` per million tokens."""

    currency: str
    input: int
    cached_input: int
    output: int

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> str:
        fresh_tokens = prompt_tokens - cached_tokens
        exact = (
            fresh_tokens * self.input
            + cached_tokens * self.cached_input
            + completion_tokens * self.output
        )
        return f"{exact / MICRO**2:.6f} {self.currency}"


class ChatClient:
    """One server, one key. Closing it, or leaving a stream, ends what runs there."""

    def __init__(self, server: Link | str, api_key: str | None) -> None:
        headers = {"X-API-Key": api_key} if api_key else {}
        self._has_key = bool(api_key)
        link = Link.to(server)
        self._url = str(link)
        self._http = link.client(headers=headers, timeout=TIMEOUT)

    def close(self) -> None:
        self._http.close()

    def models(self) -> list[str]:
        return [str(model["id"]) for model in self._listed()]

    def price(self, alias: str) -> ModelPrice | None:
        """What the server says that this key pays; None where it does not say."""
        for model in self._listed():
            if model["id"] == alias:
                return _price(model.get("price"))
        return None

    def _listed(self) -> list[dict[str, Any]]:
        try:
            response = self._http.get("/v1/models", params={"details": "true"})
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        self._check(response)
        return list(response.json()["data"])

    def answer(
        self, model: str, messages: Sequence[Mapping[str, str]]
    ) -> Generator[Piece, None, None]:
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        try:
            with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                self._check(response)
                for line in response.iter_lines():
                    if line.startswith("data: ") and line != "data: [DONE]":
                        yield _piece(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == httpx.codes.OK:
            return
        try:
            message = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = response.text.strip()[:200] or response.reason_phrase
        hint = "" if self._has_key or response.status_code != 401 else NO_KEY
        raise ChatFailed(f"{response.status_code}: {message}{hint}")

    def _unreachable(self, error: httpx.HTTPError) -> ChatFailed:
        reason = str(error) or type(error).__name__
        return ChatFailed(f"{self._url} cannot be asked: {reason}. Is the server running?")


def _price(said: Any) -> ModelPrice | None:
    try:
        parts = [micro_units(said[name]) for name in ("input", "cached_input", "output")]
        return ModelPrice(str(said["currency"]), *parts)
    except (TypeError, KeyError, ValueError):  # another server's, or none in the key's currency
        return None


def _piece(chunk: dict[str, Any]) -> Piece:
    if "error" in chunk:
        raise ChatFailed(str(chunk["error"].get("message", chunk["error"])))
    usage = chunk.get("usage") or {}
    choices = chunk.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return Piece(
        content=delta.get("content") or "",
        reasoning=delta.get("reasoning_content") or "",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
    )
