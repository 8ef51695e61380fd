"""The server that `run`, `models` and `conform` talk to, and the key: one way to find them for all.

The address: --url, else --host and --port, else this machine's 127.0.0.1:8080. The key: --api-key,
else, for a server on this machine, the one that the first start kept. All also as FJORD_…
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import typer

from server.accounts.operator_token import kept_token
from server.cli.first_start import kept_key
from server.http.web_pages import is_loopback
from server.settings import Settings

Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", "--base-url", help="The server. [default: the one at --port]"),
]
Port: TypeAlias = Annotated[
    int | None, typer.Option(help="The server on this machine at that port. [default: 8080]")
]
ApiKey: TypeAlias = Annotated[
    str | None, typer.Option(help="The key. [default: the one that the first start kept]")
]
DataDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Where the kept key lies. [default: data]")
]


@dataclass(frozen=True, slots=True)
class ServerAddress:
    url: str
    """Without a path, without a slash at its end."""
    key: str | None
    operator_keys: tuple[str, ...] = ()
    """What may open /admin/v1, to be tried in this order."""


def server_address(settings: Settings) -> ServerAddress:
    url = (settings.url or _here(settings)).rstrip("/").removesuffix("/v1")
    token = kept_token(settings.data_dir) if _is_here(url) else None
    operator_keys = tuple(key for key in (token, settings.api_key) if key)
    return ServerAddress(url, settings.api_key or _kept_key(settings, url), operator_keys)


def _here(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host).strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _kept_key(settings: Settings, url: str) -> str | None:
    """Never sent to another machine: it is this one's."""
    return kept_key(settings.data_dir) if _is_here(url) else None


def _is_here(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
