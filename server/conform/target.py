"""The server under the checks: its address, the key, the model, and how it is asked."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import httpx

from server.conform.streamed import Streamed
from server.conform.unmet import Skipped

CHAT: Final = "/v1/chat/completions"
CHAT_PATHS: Final = ("/v1/llm/chat", "/v1/llm/chat/completions", CHAT)
MODELS: Final = "/v1/models"
MODEL_PATHS: Final = ("/v1/llm/models", MODELS)
COMPLETIONS: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
TOKENIZE: Final = "/v1/tokenize"
FILES: Final = "/v1/files"
EMBEDDINGS: Final = "/v1/embeddings"
EMBEDDING_PATHS: Final = ("/v1/llm/embeddings", EMBEDDINGS)
RERANK: Final = "/v1/rerank"
RERANK_PATHS: Final = (RERANK, "/v2/rerank", "/rerank")
SCORE: Final = "/v1/score"
SCORE_PATHS: Final = (SCORE, "/score")
ABSENT: Final = object()
"""A field to leave out of the usual body."""
HELLO: Final = ({"role": "user", "content": "Hi you"},)
FIXED: Final[Mapping[str, Any]] = {"temperature": 0, "seed": 7}
"""The same request gives the same text."""


class Unreachable(Exception):
    """There is no server to ask, or no model on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Whom to ask, and as whom."""

    base_url: str
    api_key: str
    model: str | None = None
    """None: the first one listed; the page's examples then keep their own aliases."""
    reasoning_model: str | None = None
    embedding_model: str | None = None
    speech_model: str | None = None
    vision_model: str | None = None
    rerank_model: str | None = None
    timeout_s: float = 30.0
    verify: ssl.SSLContext | bool = True
    """Which certificates of a server are good; True: those that httpx trusts."""
    uds: str | None = None
    """The path of its Unix socket, where it has no port."""


class Target:
    """One server. Methods may be called from several threads."""

    def __init__(self, http: httpx.Client, options: Options) -> None:
        self.http = http
        self.options = options
        self.key = options.api_key
        self.auth = {"X-API-Key": self.key, "Authorization": f"Bearer {self.key}"}
        self._refusal = ""
        self.models = self._listed()
        self.model = options.model or self._first_model()

    # What many checks look at: asked for once, before the checks begin.

    @cached_property
    def whole(self) -> httpx.Response:
        """The usual question's answer."""
        return self.chat(**FIXED, max_tokens=8)

    @cached_property
    def streamed(self) -> Streamed:
        """The same one, streamed."""
        return self.stream(**FIXED, max_tokens=8)

    def warm_up(self) -> None:
        """Ask for what is shared; the first answer may wait for a model to load."""
        self.http.timeout = httpx.Timeout(max(600.0, self.options.timeout_s))
        try:
            _ = self.whole, self.streamed
        finally:
            self.http.timeout = httpx.Timeout(self.options.timeout_s)

    # Asking

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.http.get(path, headers=self.auth if headers is None else headers)

    def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return self.http.post(path, json=body, headers=self.auth if headers is None else headers)

    def send(
        self, content: bytes, content_type: str = "application/json", path: str = CHAT
    ) -> httpx.Response:
        """A body as these bytes."""
        return self.http.post(
            path, content=content, headers=self.auth | {"Content-Type": content_type}
        )

    def body(self, **fields: Any) -> dict[str, Any]:
        """The usual chat body with these fields, four tokens long."""
        usual = {"model": self.model, "messages": list(HELLO), "max_tokens": 4}
        return {k: v for k, v in (usual | fields).items() if v is not ABSENT}

    def chat(self, path: str = CHAT, /, **fields: Any) -> httpx.Response:
        return self.post(path, self.body(**fields))

    def stream(self, path: str = CHAT, /, **fields: Any) -> Streamed:
        """The usual body, streamed and read to the end."""
        with self.opened(path, **fields) as answer:
            return Streamed(answer.status_code, answer.headers, answer.read())

    @contextmanager
    def opened(self, path: str = CHAT, /, **fields: Any) -> Iterator[httpx.Response]:
        """A stream whose body is not read; leaving the block leaves the stream."""
        body = self.body(stream=True, **fields)
        with self.http.stream("POST", path, json=body, headers=self.auth) as answer:
            yield answer

    def said(self, text: str) -> list[dict[str, Any]]:
        """One user message."""
        return [{"role": "user", "content": text}]

    def unless_refused(self, answer: httpx.Response | Streamed, what: str) -> None:
        """For what a server need not have: a refusal in the documented way is no fault."""
        if answer.status_code in (400, 404, 501):
            raise Skipped(f"this server has no {what}: {answer.text[:120]}")

    def _listed(self) -> list[str]:
        try:
            answer = self.get(MODELS)
            self._refusal = "" if answer.is_success else f"{answer.status_code} {answer.text[:200]}"
            return [str(m["id"]) for m in answer.json()["data"]] if answer.is_success else []
        except httpx.HTTPError as e:
            raise Unreachable(f"{self.options.base_url}: {e or type(e).__name__}") from None
        except (ValueError, KeyError, TypeError):
            return []

    def _first_model(self) -> str:
        if self._refusal:
            place = f"{self.options.base_url}{MODELS}"
            raise Unreachable(f"{place} answers {self._refusal}; is the key right?")
        if not self.models:
            message = f"{self.options.base_url}{MODELS} lists no model for this key; name one"
            raise Unreachable(f"{message} with --model.")
        return self.models[0]


@contextmanager
def reached(options: Options) -> Iterator[Target]:
    """Raises Unreachable. A base URL may end with /v1, as OpenAI's clients want it."""
    base_url = options.base_url.rstrip("/").removesuffix("/v1")
    if not base_url.startswith(("http://", "https://")):
        raise Unreachable(f"{options.base_url!r} is no http:// or https:// address.")
    transport = httpx.HTTPTransport(verify=options.verify, trust_env=False, uds=options.uds)
    with httpx.Client(
        base_url=base_url, timeout=options.timeout_s, trust_env=False, transport=transport
    ) as http:
        yield Target(http, options)
