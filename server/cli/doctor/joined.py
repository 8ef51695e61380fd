"""`fjord doctor --cluster` alone: a server asks the machines that have joined it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import typer

from engines.probing.findings import ProbeFinding
from server.cli.operator_client import operator_client
from server.cli.tables import printable
from server.refusal import CannotStart

PATH: Final = "/admin/v1/nodes/probe"
OTHER_WAYS: Final = (
    "Without a server: --listen on one machine, and that machine's HOST:PORT on the others; or, "
    "on a machine of a Ray cluster, `fjord doctor --cluster ray`."
)


def joined_findings(
    server: Mapping[str, Any], ports: Sequence[int], nodes: Sequence[str]
) -> list[ProbeFinding]:
    """`server`: as operator_client takes it. Raises CannotStart."""
    asked = urlencode([("port", port) for port in ports] + [("node", name) for name in nodes])
    try:
        with operator_client(**server) as client:
            for kind, data in client.events("POST", f"{PATH}?{asked}"):
                if kind == "found":
                    return _findings(data)
                typer.echo(printable(str(data.get("what", "")))[:200], err=True)
    except CannotStart as refusal:
        if str(refusal).startswith("No Fjord server answers"):
            raise CannotStart(f"{refusal} {OTHER_WAYS}") from None
        raise
    raise CannotStart("The server has ended it; its log says why.")


def server_of(
    url: str | None, port: int | None, data_dir: Path | None, api_key: str | None
) -> Mapping[str, Any]:
    return {"url": url, "port": port, "data_dir": data_dir, "api_key": api_key}


def _findings(document: Mapping[str, Any]) -> list[ProbeFinding]:
    try:
        return [
            msgspec.convert({"node": node["node"], **check}, ProbeFinding)
            for node in document["nodes"]
            for check in node["checks"]
        ]
    except (KeyError, TypeError, msgspec.ValidationError):
        message = "The server is another version of Fjord: what it found is not known."
        raise CannotStart(message) from None
