"""Options of a server that is started, and of what prepares its start."""

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0: any. [default: 8080]")]
Uds = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="Listen on this Unix socket; beside a port, if --port says so."
    ),
]
UdsMode = Annotated[
    str | None, typer.Option(metavar="MODE", help="Of the socket's file. [default: 660]")
]
TlsCert = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Serve TLS with this chain of certificates (PEM)."),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Its private key (PEM). Both are read again once they change."
    ),
]
OpsPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        help="Have /metrics, /ready, /docs and /admin on this port, and nowhere else.",
    ),
]
OpsHost = Annotated[
    str | None, typer.Option(metavar="HOST", help="That port's address. [default: 127.0.0.1]")
]
RegistryFile = Annotated[
    Path | None, typer.Option("--registry", help="The registry. [default: model_registry.yaml]")
]
Profile = Annotated[
    str | None,
    typer.Option(help="A profile of the registry. [default: cuda with a GPU, else embedded]"),
]
Engine = Annotated[
    str | None, typer.Option(help="Run the models on vllm or llamacpp instead of the registry's.")
]
DataDir = Annotated[Path | None, typer.Option(help="Keys, ledger, weights. [default: data]")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME=SOURCE",
        help="Serve this instead of the registry: a folder, a GGUF file or a hub id. Repeatable.",
    ),
]
EngineArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-arg",
        metavar="NAME=VALUE",
        help="The engine's own argument, for the models of --model. Repeatable.",
    ),
]
NoAuth = Annotated[bool | None, typer.Option("--no-auth", help="Ask for no key (loopback only).")]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        metavar="ORIGIN",
        help="A page that may call: https://host or *. Repeatable.",
    ),
]
Ollama = Annotated[
    bool | None,
    typer.Option(
        "--ollama/--no-ollama", help="Speak Ollama's API too (/api/…). [default: on loopback]"
    ),
]
Console = Annotated[
    bool | None,
    typer.Option(
        "--console/--no-console", help="Pages for people (/console). [default: on loopback]"
    ),
]
ConsoleUrl = Annotated[
    str | None,
    typer.Option("--console-url", metavar="URL", help="The console's address as browsers know it."),
]
RequestTimeout = Annotated[
    float | None,
    typer.Option("--request-timeout", metavar="S", help="End a request after S s. [default: 600]"),
]
LoadTimeout = Annotated[
    float | None,
    typer.Option("--load-timeout", metavar="S", help="Wait S s for a model. [default: 600]"),
]
StartTimeout = Annotated[
    float | None,
    typer.Option(
        "--start-timeout",
        metavar="S",
        help="Give an engine's start S s. [default: 300 and 20 a GiB of weights]",
    ),
]
EngineMemory = Annotated[
    float | None,
    typer.Option(
        "--engine-memory",
        metavar="GB",
        help="Let engines take so much of the machine's own memory. [default: nine tenths]",
    ),
]
SleepMemory = Annotated[
    float | None,
    typer.Option(
        "--sleep-memory",
        metavar="GB",
        help="Let weights of sleeping models keep so much of the machine's memory. "
        "[default: half of what is free at the start]",
    ),
]
DrainTimeout = Annotated[
    float | None,
    typer.Option(
        "--drain-timeout",
        metavar="S",
        help="Give running answers S s at SIGTERM. [default: 60]",
    ),
]
Offline = Annotated[
    bool | None,
    typer.Option("--offline", help="Open no socket but its own: nothing is fetched."),
]
Verify = Annotated[
    bool | None,
    typer.Option("--verify", help="Compare every byte of a model's weights before it is loaded."),
]
LedgerUrl = Annotated[str | None, typer.Option(help="postgresql://…: the site's database.")]
Advertise = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the site's other servers reach this one."),
]
NodeTokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Let machines join that bring this secret (fjord node); its first line.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ray", help="vLLM's engines stand on this cluster's machines too."),
]
OtlpEndpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Send traces of requests to this collector (OpenTelemetry, OTLP/HTTP)."
    ),
]
LogLevel = Annotated[
    str | None, typer.Option(help="debug, info, warning or error. [default: info]")
]
LogFormat = Annotated[
    str | None,
    typer.Option(help="text, json or auto. [default: auto: text at a terminal, else json]"),
]
