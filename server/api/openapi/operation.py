"""One operation of the API as the table of operations has it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel

from server.api.endpoint import Endpoint
from server.api.services import Services
from server.errors import OtherForm

Port: TypeAlias = Literal["api", "ops"]
Build: TypeAlias = Callable[[Services, str], Endpoint]
"""The server's parts, the operation's tag -> what answers it."""

_ALWAYS: Final = (400, 401, 402, 403, 404, 405, 413, 415, 429, 500, 503, 504)
"""Of what asks a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation under all its paths."""

    paths: tuple[str, ...]
    tag: str
    """Its group in the document; its label in /metrics and in usage records."""
    build: Build
    summary: str
    answer: Any
    """The type of a whole answer; None: text."""
    description: str = ""
    ports: frozenset[Port] = frozenset({"api"})
    """Where it is served, if operators have a port of their own."""
    body: type[BaseModel] | None = None
    event: Any = None
    """The type of what one event of a stream holds; None: it does not stream."""
    requests: Mapping[str, Any] = field(default_factory=dict)
    """Example bodies by name."""
    example: Any = None
    """An example answer."""
    form: OtherForm | None = None
    """Where it is of another API than the service's."""
    line: Any = None
    """The type of each line of a stream of JSON; None: it has no such stream."""
    verb: str | None = None
    """None: get, or post where it has a body."""

    raw_body: Mapping[str, Any] | None = None
    """OpenAPI's requestBody of what is no model: a form, or a body read by its endpoint."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters, all optional: name -> JSON's type."""
    takes_key: bool = False
    """Whether a request with an Idempotency-Key is answered once."""
    media_type: str = "text/plain"
    """Of an answer that is text."""

    @property
    def path_parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"{(\w+)}", self.paths[0]))

    @property
    def method(self) -> str:
        if self.verb is not None:
            return self.verb
        return "get" if self.body is None else "post"

    @property
    def needs_key(self) -> bool:
        return self.tag != "operations"

    @property
    def errors(self) -> tuple[int, ...]:
        """The statuses that it may refuse with."""
        keyed = (409, 422) if self.takes_key else ()
        if self.body is not None:
            return tuple(sorted((*_ALWAYS, *keyed)))
        if self.needs_key:
            if self.tag.startswith("audio"):
                return tuple(sorted((*_ALWAYS, *keyed)))
            if self.tag in ("files", "batches", "kept_responses", "conversations"):
                taken = () if self.raw_body is None else (402, 413, 415)
                return tuple(sorted((400, 401, 403, 404, 405, 429, 500, 503, *taken, *keyed)))
            unknown = (404,) if self.path_parameters else ()
            return (401, 403, *unknown, 405, 429, 500)
        return (405,)
