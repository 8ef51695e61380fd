"""`fjord batch FILE`: a file of requests, run by a server, its answers written beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.apps import new_app
from server.cli.batch_client import BatchClient, BatchFailed
from server.cli.server_address import ApiKey, DataDir, Port, Url, server_address
from server.cli.trouble import whole
from server.refusal import CannotStart
from server.settings import read_settings

app = new_app()


@app.command()
def batch(
    file: Annotated[Path, typer.Argument(help="A request in each line, in OpenAI's form.")],
    resume: Annotated[
        str | None, typer.Option(metavar="BATCH_ID", help="Go on with this batch of the file.")
    ] = None,
    cancel_on_interrupt: Annotated[
        bool, typer.Option("--cancel-on-interrupt", help="Ctrl-C cancels the batch.")
    ] = False,
    url: Url = None,
    port: Port = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Run a file of requests, and write the answers beside it.

    They are NAME.output.jsonl and NAME.errors.jsonl. Ctrl-C leaves the batch running and says how
    to come back. The exit status is 1 where a request failed.
    """
    address = server_address(read_settings(url=url, port=port, api_key=api_key, data_dir=data_dir))
    client = BatchClient(address.api, address.key)
    try:
        batch_id = resume or client.begin(file)
        with _interrupts(client, batch_id, file, is_cancelling=cancel_on_interrupt):
            done = _followed(client, batch_id)
        raise typer.Exit(_written(client, done, file))
    except BatchFailed as failure:
        raise CannotStart(str(failure)) from None
    finally:
        client.close()


@contextmanager
def _interrupts(
    client: BatchClient, batch_id: str, file: Path, *, is_cancelling: bool
) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if is_cancelling:
            client.cancel(batch_id)
            typer.echo(f"{batch_id} is cancelled.", err=True)
        else:
            again = f"fjord batch --resume {batch_id} {file}"
            typer.echo(f"It goes on at the server. To come back: {again}", err=True)
        raise


def _followed(client: BatchClient, batch_id: str) -> dict[str, Any]:
    """The batch, once it is over; how far it is stands on stderr meanwhile."""
    from server.cli.bars import Bar

    with Bar() as bar:
        for seen in client.states(batch_id):
            counts = seen["request_counts"]
            done = counts["completed"] + counts["failed"]
            bar.progress(f"{batch_id} {seen['status']}", done, counts["total"] or None)
    return seen


def _written(client: BatchClient, done: dict[str, Any], file: Path) -> int:
    """The command's exit status, once what there is lies beside the file."""
    for member, ending in (("output_file_id", "output"), ("error_file_id", "errors")):
        if done[member] is not None:
            path = file.with_name(f"{file.stem}.{ending}.jsonl")
            with whole(path) as part, open(part, "wb") as written:
                written.writelines(client.content(done[member]))
            typer.echo(str(path))
    for error in (done["errors"] or {"data": ()})["data"]:
        at = "" if error["line"] is None else f"{file}:{error['line']}: "
        typer.echo(f"{at}{error['message']}", err=True)
    counts = done["request_counts"]
    said = f"{done['status']}: {counts['completed']} of {counts['total']} answered"
    typer.echo(said + (f", {counts['failed']} failed" if counts["failed"] else ""), err=True)
    return int(done["status"] != "completed" or counts["failed"] > 0)
