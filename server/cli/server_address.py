"""The server that `run`, `models` and `conform` talk to, and the key: one way to find them for all.

The address: --url, else --host and --port, else FJORD_UDS, else what the server that runs on the
data directory has noted there, else this machine's 127.0.0.1:8080. The key: --api-key, else, for a
server on this machine, the one that the first start kept. All also as FJORD_…
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import typer

from server.accounts.operator_token import kept_token
from server.cli.first_start import kept_key
from server.cli.link import Link
from server.cli.server_note import ServerNote, read_note
from server.http.web_pages import is_loopback
from server.settings import Settings

Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", "--base-url", help="The server. [default: the one at --port]"),
]
Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="The server on this machine at that port. [default: the one that runs here, or 8080]"
    ),
]
ApiKey: TypeAlias = Annotated[
    str | None, typer.Option(help="The key. [default: the one that the first start kept]")
]
DataDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Where the kept key lies. [default: data]")
]


@dataclass(frozen=True, slots=True)
class ServerAddress:
    api: Link
    ops: Link
    """Of /ready and /admin; the same, where they are not apart."""
    key: str | None
    operator_keys: tuple[str, ...] = ()
    """What may open /admin/v1, to be tried in this order."""

    @property
    def url(self) -> str:
        """As a person names it."""
        return str(self.api)


def server_address(settings: Settings) -> ServerAddress:
    note = read_note(settings.data_dir)
    if note is not None and not _is_meant(note, settings):
        note = None
    api = _named(settings) if note is None else note.api
    is_here = note is not None or is_loopback(urlsplit(api.url).hostname or "")
    token = kept_token(settings.data_dir) if is_here else None
    # The kept key is never sent to another machine: it is this one's.
    key = settings.api_key or (kept_key(settings.data_dir) if is_here else None)
    ops = api if note is None or note.ops is None else note.ops
    return ServerAddress(api, ops, key, tuple(key for key in (token, settings.api_key) if key))


def console_address(data_dir: Path) -> str:
    """Of the console, as a browser knows it."""
    settings = Settings(data_dir=data_dir)
    if settings.console_url is not None:
        return settings.console_url
    note = read_note(data_dir)
    return _named(settings).url if note is None else (note.ops or note.api).url


def _named(settings: Settings) -> Link:
    if settings.url is not None:
        return Link.to(settings.url)
    if not settings.has_port:
        return Link.to(f"unix:{Path(settings.uds or '').absolute()}")
    host = _host(settings)
    return Link(f"http://{f'[{host}]' if ':' in host else host}:{settings.port}")


def _is_meant(note: ServerNote, settings: Settings) -> bool:
    """Whether what was asked for is the server that runs on this data directory."""
    links = [link for link in (note.api, note.ops) if link is not None]
    if settings.url is not None or not settings.has_port:
        return str(_named(settings)) in map(str, links)
    noted, host = [urlsplit(link.url) for link in links], _host(settings)
    if not is_loopback(host) and host not in [each.hostname for each in noted]:
        return False
    is_open = "port" not in settings.model_fields_set
    return is_open or settings.port in [each.port for each in noted]


def _host(settings: Settings) -> str:
    host = settings.host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
