"""`fjord node`: join a server, and run what it asks for until a signal."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated

import typer

from engines.joined.facts import JoinedFacts
from server import __version__
from server.accounts.node_token import node_token
from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.offline import VARIABLES
from server.cli.tables import printable, terminal_width
from server.refusal import CannotStart
from server.settings import Settings, read_settings

app = new_app()

Join = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The server: http://HOST:PORT, or https://…; or FJORD_JOIN."),
]
Name = Annotated[
    str | None,
    typer.Option(help="This node's name, unlike any other's. [default: the host's]"),
]


@app.command()
def node(
    join: Join = None,
    name: Name = None,
    node_token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The server's node token; or FJORD_NODE_TOKEN."),
    ] = None,
    data_dir: options.DataDir = None,
    offline: options.Offline = None,
    verify: options.Verify = None,
) -> None:
    """Lend this machine to a server, for models that need several.

    It loads nothing until the server asks, and gives all back when it is ended: Ctrl-C. The server
    and its nodes speak without encryption: for private networks only.
    """
    settings = read_settings(
        join=join,
        node=name,
        node_token_file=node_token_file,
        data_dir=data_dir,
        offline=offline,
        verify=verify,
    )
    if settings.join is None:
        raise CannotStart("Which server? Right would be like --join http://gpu-1:8080.")
    token = node_token(settings.node_token, settings.node_token_file)
    if not token:
        raise CannotStart(
            "This node has no node token: give it the server's, with --node-token-file FILE or "
            "FJORD_NODE_TOKEN."
        )
    if settings.offline:
        os.environ.update(VARIABLES)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(_run(settings.join, token, settings))


async def _run(head: str, token: str, settings: Settings) -> None:
    from engines.build import EngineBuilder
    from engines.joined.facts import facts_name, these_facts
    from engines.probing.prober import Prober
    from engines.probing.told import told_here
    from engines.vllm.headless.parts import HeadlessParts
    from engines.weights.fingerprint import fingerprint
    from server.cli.node.joining import Joining
    from server.cli.node.tasks import node_tasks

    facts = these_facts(facts_name(settings.node or socket.gethostname()), __version__)
    parts: HeadlessParts
    builder = EngineBuilder(
        settings.data_dir,
        lambda _, *step: parts.told(*step),
        stall_timeout_s=settings.fetch_stall_timeout_s,
        verifies=settings.verify,
    )
    parts = HeadlessParts(builder.fetched, fingerprint, len(facts.cards), _say)
    prober = Prober(lambda: told_here(facts.name, __version__), settings.data_dir)
    tasks = node_tasks(parts, prober)
    joining = Joining(head, token, facts, parts, tasks, _say, parted=prober.close)
    _say(_facts_told(facts))
    running = asyncio.ensure_future(joining.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
            return
        _say("It leaves.")
        await parts.end_all()
        sys.stdout.flush()
        os._exit(0)  # a thread may wait for a driver, or a hub
    finally:
        await parts.end_all()


def _facts_told(facts: JoinedFacts) -> str:
    names = [f"{card.name} {card.total / 2**30:.0f} GB" for card in facts.cards]
    cards = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return (
        f"{facts.name}: Fjord {facts.fjord}, vLLM {facts.vllm}, torch {facts.torch}; "
        f"{cards or 'no cards'}."
    )


def _say(words: str) -> None:
    """With the time, in the terminal's width."""
    stamp = time.strftime("%H:%M:%S ")
    width = max(20, min(terminal_width(), 200) - len(stamp))
    lines = textwrap.wrap(printable(words), width) or [""]
    with contextlib.suppress(OSError):  # a log's disk is full, or nobody reads: it works on
        for i, line in enumerate(lines):
            typer.echo((" " * len(stamp) if i else stamp) + line)
