"""A collector of OTLP over HTTP: one POST a batch, whatever it answers, in a bounded time."""

import gzip
import ssl
import time
from contextlib import suppress
from typing import Final, Literal, NamedTuple, TypeAlias

import httpx
from opentelemetry.util.re import parse_env_headers

from server.refusal import CannotStart
from server.tracing.address import CollectorAddress

Outcome: TypeAlias = Literal["taken", "away", "refused"]
"""away: the same batch may be taken later; refused: never."""

WAIT_S: Final = 5.0
"""For each step of a POST, and for all of its answer."""
_LATER: Final = frozenset({429, 502, 503, 504})
"""https://opentelemetry.io/docs/specs/otlp/#failures-1"""
_MOST_ANSWER_BYTES: Final = 64 * 1024


class Sent(NamedTuple):
    """What came of a POST; `why` says it for the log, in words of ours."""

    outcome: Outcome
    why: str = ""


class Collector:
    """Raises CannotStart where a certificate or a header that it is given cannot be used."""

    def __init__(self, address: CollectorAddress) -> None:
        self.address = address
        headers = {"content-type": "application/x-protobuf"}
        if address.is_gzip:
            headers["content-encoding"] = "gzip"
        self._client = httpx.Client(
            headers={**headers, **parse_env_headers(address.headers, liberal=True)},
            timeout=WAIT_S,
            verify=_trusted(address),
            # A proxy would be asked for this machine, too.
            trust_env=not address.is_loopback,
        )

    def send(self, body: bytes) -> Sent:
        """Blocks for some times WAIT_S at most; raises nothing."""
        if self.address.is_gzip:
            body = gzip.compress(body, 1)
        try:
            with self._client.stream("POST", self.address.url, content=body) as answer:
                status = answer.status_code
                _read_off(answer)
        except Exception as error:  # whatever a stranger's answer does to the library
            return Sent("away", type(error).__name__)
        if status < 300:
            return Sent("taken")
        return Sent("away" if status in _LATER else "refused", f"HTTP {status}")

    def close(self) -> None:
        self._client.close()


def _read_off(answer: httpx.Response) -> None:
    """For the connection's next batch: its status has said all. What is longer, comes slower or is
    no HTTP is left unread."""
    left, until = _MOST_ANSWER_BYTES, time.monotonic() + WAIT_S
    with suppress(httpx.HTTPError):
        for piece in answer.iter_raw():
            left -= len(piece)
            if left < 0 or time.monotonic() > until:
                return


def _trusted(address: CollectorAddress) -> ssl.SSLContext | bool:
    if address.certificate is None and address.client_certificate is None:
        return True
    try:
        context = ssl.create_default_context(cafile=address.certificate)
        if address.client_certificate is not None:
            context.load_cert_chain(address.client_certificate, address.client_key)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"The certificates of OTEL_EXPORTER_OTLP_… cannot be used: {error}."
        ) from None
    return context
