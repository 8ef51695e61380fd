"""`fjord conform`: ask any server of this API how far it keeps the contract."""

from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.apps import new_app
from server.cli.server_address import ApiKey, DataDir, Port, Url, server_address
from server.cli.trouble import whole
from server.refusal import CannotStart
from server.settings import read_settings

app = new_app()


@app.command()
def conform(
    url: Url = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
    model: Annotated[
        str | None, typer.Option(help="The model to ask. [default: the first one listed]")
    ] = None,
    reasoning_model: Annotated[
        str | None, typer.Option(help="A model that reasons. [default: the same model]")
    ] = None,
    embedding_model: Annotated[
        str | None, typer.Option(help="A model that makes vectors. [default: none is asked]")
    ] = None,
    speech_model: Annotated[
        str | None, typer.Option(help="A model that hears speech. [default: none is asked]")
    ] = None,
    vision_model: Annotated[
        str | None, typer.Option(help="A model that reads pictures. [default: none is asked]")
    ] = None,
    rerank_model: Annotated[
        str | None, typer.Option(help="A model that reranks. [default: none is asked]")
    ] = None,
    only: Annotated[
        str, typer.Option(metavar="TEXT", help="Only checks whose id has this in it.")
    ] = "",
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also what generates a thousand tokens.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let the exit status count what differs, too.")
    ] = False,
    timeout: Annotated[float, typer.Option(metavar="S", help="Longest wait for an answer.")] = 30.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results here, too.")
    ] = None,
) -> None:
    """Ask a server how far it keeps the contract.

    Some 320 questions; the exit status counts failures.
    fail: a documented rule does not hold. differs: a rule that is Fjord's own does not.
    """
    from server.conform.target import Options, Unreachable

    address = server_address(read_settings(url=url, port=port, api_key=api_key, data_dir=data_dir))
    if address.key is None:
        raise CannotStart(
            f"No key for {address.url}: give one with --api-key or FJORD_API_KEY "
            "(a server without keys takes any)."
        )
    options = Options(
        base_url=address.api.url,
        api_key=address.key,
        model=model,
        reasoning_model=reasoning_model,
        embedding_model=embedding_model,
        speech_model=speech_model,
        vision_model=vision_model,
        rerank_model=rerank_model,
        timeout_s=timeout,
        verify=address.api.trusted(),
        uds=address.api.uds,
    )
    try:
        status = _run(options, only=only, thorough=thorough, strict=strict, json_file=json_file)
    except Unreachable as e:
        raise CannotStart(str(e)) from None
    raise typer.Exit(status)


def _run(options: Any, *, only: str, thorough: bool, strict: bool, json_file: Path | None) -> int:
    from rich.console import Console

    from server.conform.catalogue import all_checks
    from server.conform.run import exit_status, run_checks
    from server.conform.table import as_json, show
    from server.conform.target import reached

    checks = [c for c in all_checks() if only in c.id]
    if not checks:
        raise CannotStart(f"--only {only}: no check has that in its id.")
    with reached(options) as target:
        results = run_checks(checks, target, thorough=thorough)
    show(Console(), results)
    if json_file is not None:
        with whole(json_file) as part:
            part.write_text(as_json(options.base_url, target.model, results), "utf-8")
    return exit_status(results, strict=strict)
