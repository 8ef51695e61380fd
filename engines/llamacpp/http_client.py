"""Our way to the few things llama.cpp offers over its own HTTP listener only: tokens of a text, a
count of a prompt's, and which slot does what."""

import base64
import contextlib
import http.client
import socket
from collections.abc import Sequence
from typing import Any

import msgspec

from engines.base import EngineDead, EngineOverloaded, InvalidRequest

TIMEOUT_S = 60.0
"""A million characters take about a second, and longer texts come in pieces where they can."""


FORGET_S = 1.0


class Slot(msgspec.Struct, frozen=True):
    """One of llama.cpp's."""

    id: int
    is_busy: bool = msgspec.field(name="is_processing")
    tokens: int = msgspec.field(name="n_prompt_tokens", default=0)
    """That it has in the cache."""
    task: int = msgspec.field(name="id_task", default=-1)
    """Its last one's number; the larger, the younger."""


class HttpClient:
    """A client of one llama.cpp listener. Every method blocks: call it from a thread."""

    def __init__(self, address: str, key: str) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def tokenize(self, text: str, *, adds_special: bool) -> list[int]:
        """Token ids; special tokens in the text are special, as in vLLM's chat endpoint."""
        body = {"content": text, "add_special": adds_special, "parse_special": True}
        ids: list[int] = self._ask("POST", "/tokenize", body)["tokens"]
        return ids

    def slots(self) -> list[Slot]:
        return msgspec.convert(self._ask("GET", "/slots"), list[Slot])

    def forget(self, slot: int) -> None:
        """What it has in the cache. Who is busy does so when it no longer is: EngineOverloaded."""
        self._ask("POST", f"/slots/{slot}?action=erase", timeout_s=FORGET_S)

    def count_tokens(self, parts: Sequence[str | bytes]) -> int:
        """Of a prompt of texts and pictures, whose sizes alone count. RuntimeError where it cannot
        be read."""
        content = [_part(part) for part in parts if part]
        body = {"messages": [{"role": "user", "content": content}]}
        count: int = self._ask("POST", "/v1/chat/completions/input_tokens", body)["input_tokens"]
        return count

    def properties(self) -> dict[str, Any]:
        """modalities, media_marker and more."""
        told: dict[str, Any] = self._ask("GET", "/props")
        return told

    def sizes(self) -> dict[str, Any]:
        """n_ctx (of one slot), n_ctx_train, n_vocab, n_embd and more."""
        sizes: dict[str, Any] = self._ask("GET", "/v1/models")["data"][0]["meta"]
        return sizes

    def slot_of(self, seed: int) -> int | None:
        """The id of the slot whose call has this seed; answered while a step is computed."""
        slots = self._ask("GET", "/slots")
        ids = [slot["id"] for slot in slots if slot.get("params", {}).get("seed") == seed]
        return ids[0] if len(ids) == 1 else None

    def _ask(self, method: str, path: str, body: Any = None, timeout_s: float = TIMEOUT_S) -> Any:
        connection = connection_to(self._address, timeout_s)
        try:
            with contextlib.closing(connection):
                payload = None if body is None else msgspec.json.encode(body)
                connection.request(method, path, payload, self._headers)
                response = connection.getresponse()
                answer = msgspec.json.decode(response.read())
        except TimeoutError as error:  # at work, not dead: its loop is asked by Liveness alone
            raise EngineOverloaded("llama.cpp is busy with other long prompts.") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineDead(f"llama.cpp does not answer {path}: {error}") from error
        if response.status != 200:
            raise _refusal(path, response.status, answer)
        return answer


def connection_to(address: str, timeout_s: float | None) -> http.client.HTTPConnection:
    """Of a listener as llama.cpp writes it."""
    if address.startswith("unix://"):
        return UnixConnection(address.removeprefix("unix://"), timeout_s)
    host, _, port = address.split("://")[-1].rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=timeout_s)


def _part(part: str | bytes) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = f"data:image/png;base64,{base64.b64encode(part).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _refusal(path: str, status: int, answer: Any) -> Exception:
    """Who answers is alive: 400 is the input's fault, anything else a bug, which ends this request
    alone."""
    if status == 400:
        return InvalidRequest(f"llama.cpp refuses this input: {answer}")
    return RuntimeError(f"llama.cpp refuses {path}: {status} {answer}")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
