"""A running server's /admin/v1, as its operator asks it: by the token of its data directory,
or with an admin key."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import quote

import httpx

from engines.fleet.commands import Command
from server.cli.server_address import ServerAddress, server_address
from server.refusal import CannotStart
from server.settings import read_settings

Model: TypeAlias = dict[str, Any]
"""An OperatedModel."""
_PATH = "/admin/v1/models"
_REFUSED = (401, 403)
_POLL_S = (0.1, 2.0)
"""At first, and for what takes long."""


class NotItsOperator(CannotStart):
    """The server takes none of the keys at hand for an operator's."""


class OperatorClient:
    """Raises CannotStart with what went wrong, in words."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._http = address.ops.client(timeout=60.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> dict[str, Any]:
        """What it answers, under /admin/v1."""
        found: dict[str, Any] = self._asked("GET", path)
        return found

    def post(self, path: str) -> dict[str, Any]:
        """What it answers, under /admin/v1."""
        found: dict[str, Any] = self._asked("POST", path)
        return found

    def events(self, method: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, as they come. Raises CannotStart, also where they break off."""
        for key in self._keys:
            with self._stream(method, path, key) as answer:
                if answer.status_code not in _REFUSED:
                    yield from self._events(answer)
                    return
                answer.read()
        raise self._not_its_operator(answer)

    def _events(self, answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
        if not answer.is_success:
            answer.read()
            raise CannotStart(_message(answer))
        kind = ""
        with self._answering():
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

    def models(self) -> list[Model]:
        """All, in the registry's order."""
        found: list[Model] = self._asked("GET", _PATH)["models"]
        return found

    def tell(self, command: Command, alias: str) -> Model:
        """The model, once the server has begun."""
        found: Model = self._asked("POST", f"{_PATH}/{quote(alias, safe='')}/{command}")
        return found

    def apply(self, *, is_trial: bool) -> dict[str, Any]:
        """A RegistryAnswer."""
        query = "?dry_run=true" if is_trial else ""
        found: dict[str, Any] = self._asked("POST", f"/admin/v1/registry{query}")
        return found

    def done(self, model: Model, say: Callable[[str], None]) -> Model:
        """The model once its load, unload or sleep is done, or another is begun; `say` hears each
        of its states."""
        alias, command, shown, pause_s = model["alias"], model["command"], "", _POLL_S[0]
        while True:
            if shown != (shown := state_of(model)):
                say(f"{alias}: {shown}")
            if command is None or model["command"] != command:
                return model
            time.sleep(pause_s)
            pause_s = min(_POLL_S[1], 1.5 * pause_s)
            model = next(each for each in self.models() if each["alias"] == alias)

    def _asked(self, method: str, path: str) -> Any:
        for key in self._keys:
            with self._answering():
                answer = self._http.request(method, path, headers=_headers(key))
            if answer.status_code not in _REFUSED:
                return _body(answer, str(self._address.ops))
        raise self._not_its_operator(answer)

    @property
    def _keys(self) -> Sequence[str]:
        return self._address.operator_keys or ("",)

    def _not_its_operator(self, answer: httpx.Response) -> NotItsOperator:
        return NotItsOperator(
            f"The server at {self._address.ops} does not take this for its operator: "
            f"{_message(answer)} Run it as the server's user with its --data-dir, or give an "
            "admin key (`fjord keys create --admin`) with --api-key."
        )

    @contextlib.contextmanager
    def _stream(self, method: str, path: str, key: str) -> Iterator[httpx.Response]:
        with contextlib.ExitStack() as stack:
            with self._answering():
                answer = stack.enter_context(self._http.stream(method, path, headers=_headers(key)))
            yield answer

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            why = str(error) or type(error).__name__
            raise CannotStart(f"No Fjord server answers at {self._address.ops}: {why}.") from None


def operator_client(
    url: str | None, port: int | None, data_dir: Path | None, api_key: str | None
) -> OperatorClient:
    """Of the server that a command line means."""
    settings = read_settings(url=url, port=port, data_dir=data_dir, api_key=api_key)
    return OperatorClient(server_address(settings))


def state_of(model: Model) -> str:
    """closed: no request may load it. leaving: it ends its requests. falling asleep, sleeping at
    level 1 (weights in the machine's memory) or 2."""
    if model["state"] == "ready" and model["command"] in ("unload", "sleep"):
        return "leaving"
    if model["state"] == "sleeping":
        return f"sleeping {model['sleep_level']}"
    if model["state"] == "falling_asleep":
        return "falling asleep"
    if model["state"] == "cold" and not model["is_open"]:
        return "closed"
    return str(model["state"])


def _headers(key: str) -> dict[str, str]:
    return {"X-API-Key": key} if key else {}


def _body(answer: httpx.Response, url: str) -> Any:
    if not answer.is_success:
        raise CannotStart(_message(answer))
    try:
        return answer.json()
    except ValueError:
        raise CannotStart(f"What answers at {url} is no Fjord server.") from None


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}."
