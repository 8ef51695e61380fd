"""Flags of `fjord doctor --cluster`."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Where: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="[HEAD:PORT]",
        help="With --cluster: the machine to come to, or ray; with --listen, where to wait.",
        show_default=False,
    ),
]
Cluster: TypeAlias = Annotated[
    bool, typer.Option("--cluster", help="Look whether several machines can run one engine.")
]
Listening: TypeAlias = Annotated[
    bool, typer.Option("--listen", help="With --cluster: wait for the others, and ask them.")
]
Nodes: TypeAlias = Annotated[
    int, typer.Option(min=2, max=16, help="With --listen: how many machines, this one too.")
]
Ports: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="PORT,FIRST-LAST",
        help="With --cluster: what a start will use, 32 at most. [with --listen: 29500]",
    ),
]
Only: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--node", metavar="NAME", help="With --cluster: of those that joined, this one."),
]
Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", help="With --cluster: the server whose nodes to ask, if not this one's."),
]
AdminKey: TypeAlias = Annotated[
    str | None, typer.Option("--api-key", help="An admin key of it; on its machine none is needed.")
]
Wait: TypeAlias = Annotated[
    float, typer.Option(min=1, max=3600, help="With --cluster: seconds to wait for each other.")
]
NodeTokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--node-token-file",
        metavar="FILE",
        help="With --cluster: the secret that all machines have, or in FJORD_NODE_TOKEN.",
    ),
]
