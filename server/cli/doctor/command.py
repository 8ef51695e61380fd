"""`fjord doctor`: the checks in their order, and how they are shown."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import typer

from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.doctor.diagnosis import Check, Diagnosis, diagnoses
from server.cli.doctor.hardware import cards, compilers, memory, open_files, shared_memory
from server.cli.doctor.models import registry
from server.cli.doctor.place import data_dir, ledger, port
from server.cli.doctor.surroundings import clock, site
from server.cli.options import AsJson
from server.cli.tables import terminal_width
from server.settings import read_settings

CHECKS: Sequence[tuple[str, Check]] = (
    ("cards", cards),
    ("memory", memory),
    ("shared memory", shared_memory),
    ("open files", open_files),
    ("compilers", compilers),
    ("data directory", data_dir),
    ("ledger", ledger),
    ("port", port),
    ("clock", clock),
    ("site", site),
    ("registry", registry),
)
MARKS = {"ok": "ok", "note": "note", "bad": "BAD"}
COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "bad": typer.colors.RED}
INDENT = 21

app = new_app()


@app.command()
def doctor(
    as_json: AsJson = False,
    host: options.Host = None,
    port: options.Port = None,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    data_dir: options.DataDir = None,
    ledger_url: options.LedgerUrl = None,
) -> None:
    """Look whether this machine is ready to serve.

    And say what to do where it is not. Each line is ok, a note, or BAD with what would be right;
    exit status 1 where one is bad. Nothing is changed, fetched or loaded; weights that are here are
    read once.
    """
    settings = read_settings(
        host=host,
        port=port,
        registry=registry,
        profile=profile,
        data_dir=data_dir,
        ledger_url=ledger_url,
    )
    found = []
    for each in diagnoses(CHECKS, settings):
        found.append(each)
        if not as_json:
            _show(each)
    count = sum(each.state == "bad" for each in found)
    if as_json:
        typer.echo(json.dumps({"bad": count, "checks": [asdict(each) for each in found]}))
    else:
        typer.echo(f"\n{'Nothing stands in the way.' if not count else f'{count} to mend.'}")
    if count:
        raise typer.Exit(1)


def _show(finding: Diagnosis) -> None:
    mark = typer.style(f"{MARKS[finding.state]:4}", fg=COLOURS[finding.state])
    words = finding.words + (f"; {finding.remedy}" if finding.remedy else "")
    width = min(terminal_width(), 200)
    first, *more = textwrap.wrap(words, max(20, width - INDENT)) or [""]
    typer.echo(f"{mark} {finding.name:<15} {first}")
    for line in more:
        typer.echo(" " * INDENT + line)
