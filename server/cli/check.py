"""`fjord check`: what a model is able to do, before it is served."""

import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engines.checking.check import Subject, check, verdict_counts
from engines.checking.findings import Finding
from engines.registry.registry import Registry
from engines.registry.sources import is_gguf
from engines.registry.spec import EngineSpec
from engines.spelling import did_you_mean
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.plan import AUTO, machine_of
from server.cli.registry_choice import open_registry
from server.cli.tables import UNBOUNDED, printable, terminal_width
from server.refusal import CannotStart
from server.settings import Settings, read_settings

app = new_app()
COLORS = {"ok": "green", "note": "yellow", "fail": "red"}
_WIDEST = 80


@app.command(name="check")
def check_command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An alias of the registry, a folder of files, or a .gguf file."
        ),
    ],
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    data_dir: options.DataDir = None,
    gpus: Annotated[
        str, typer.Option(help="For these cards, as for `fjord plan`; auto: those here.")
    ] = AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a model is able to do, before it is served.

    By its files on this disk: config, chat template, stop tokens, tool calls, thoughts, memory.
    Nothing is fetched, no engine starts, no code of a model is run. Exit status 1 where something
    fails.
    """
    machine = machine_of(gpus)
    settings = read_settings(profile=profile, registry=registry, engine=engine, data_dir=data_dir)
    subject = subject_of(model, settings)
    findings = check(subject, machine, settings.data_dir, _progress)
    _progress("")
    if as_json:
        typer.echo(json.dumps(check_as_json(subject, findings), indent=2, ensure_ascii=False))
    else:
        _show(subject, findings)
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


def subject_of(model: str, settings: Settings) -> Subject:
    """What begins as a path is one; else an alias, or a file or folder that is there. Raises
    CannotStart."""
    path = Path(model).expanduser()
    if model.startswith(("/", "./", "../", "~")) or model in (".", ".."):
        return _of_path(path, model, settings)
    if path.exists() and ("/" in model or model.endswith(".gguf")):
        return _of_path(path, model, settings)
    opened = open_registry(settings)
    if (alias := _alias(model, opened)) is not None:
        return Subject(spec=opened.models[alias].engine, entry=opened.models[alias], shown=alias)
    if path.exists():
        return _of_path(path, model, settings)
    raise CannotStart(
        f"{model}: profile {opened.profile} has no such model{did_you_mean(model, opened.models)}, "
        f"and no file or folder is there; its models: {', '.join(opened.models)}."
    )


def _alias(name: str, registry: Registry) -> str | None:
    """Also by another name of it."""
    found = registry.names.find(name)
    return None if found is None else found.alias


def _of_path(path: Path, shown: str, settings: Settings) -> Subject:
    if not path.exists():
        raise CannotStart(f"{shown} is not there.")
    located = path.resolve()
    is_file = located.is_file() or is_gguf(str(located), Path())
    spec = EngineSpec(kind="llamacpp" if is_file else "vllm", source=str(located))
    if settings.engine not in (None, spec.kind):
        raise CannotStart(f"{shown} runs on {spec.kind}; --engine is for a registry's models.")
    return Subject(spec=spec, shown=shown)


def check_as_json(subject: Subject, findings: Sequence[Finding]) -> dict[str, object]:
    """`source` is what was typed where that was a path."""
    is_path = Path(subject.spec.source).is_absolute()
    return {
        "model": subject.shown,
        "source": subject.shown if is_path else subject.spec.source,
        "engine": subject.spec.kind,
        "counts": verdict_counts(findings),
        "findings": [
            {"id": each.id, "verdict": each.verdict, "text": each.text} for each in findings
        ],
    }


def _show(subject: Subject, findings: Sequence[Finding]) -> None:
    typer.secho(f"{printable(subject.shown)} on {subject.spec.kind}\n", bold=True)
    topics = max((len(each.topic) for each in findings), default=0)
    width = terminal_width()
    for each in findings:
        first, *rest = _lines(each, topics, width)
        typer.echo(typer.style(f"{each.verdict:<6}", fg=COLORS[each.verdict]) + first)
        for line in rest:
            typer.echo(line)
    counts = verdict_counts(findings)
    typer.echo(f"\n{counts['ok']} ok, {counts['note']} to note, {counts['fail']} failed")


def _lines(finding: Finding, topics: int, width: int) -> list[str]:
    """What stands behind the verdict, and the lines beneath it; into a pipe a finding is one."""
    before = f"{finding.topic:<{topics}}  "
    text = printable(finding.text)
    if width == UNBOUNDED:
        return [before + text]
    indent = 6 + len(before)
    room = max(20, min(width, _WIDEST) - indent)
    parts = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [before + parts[0], *(" " * indent + part for part in parts[1:])]


def _progress(step: str) -> None:
    """The step stands at a terminal while it lasts."""
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{step}{' …' if step else ''}", nl=False, err=True)
