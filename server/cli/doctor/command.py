"""`fjord doctor`: the checks in their order, and how they are shown."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import typer

from server.cli import serving_options as options
from server.cli.apps import new_app
from server.cli.doctor import cluster_options, listening
from server.cli.doctor.cluster import ClusterFlags, look_at_cluster, ports_of
from server.cli.doctor.cluster_shown import told
from server.cli.doctor.diagnosis import Check, Diagnosis, diagnoses
from server.cli.doctor.hardware import cards, compilers, cuda, memory, shared_memory
from server.cli.doctor.joined import joined_findings, server_of
from server.cli.doctor.limits import open_files, processes
from server.cli.doctor.models import registry
from server.cli.doctor.place import data_dir, ledger, weights_dir
from server.cli.doctor.surroundings import clock, site
from server.cli.options import AsJson
from server.cli.tables import terminal_width
from server.refusal import CannotStart
from server.settings import read_settings

CHECKS: Sequence[tuple[str, Check]] = (
    ("cards", cards),
    ("cuda", cuda),
    ("memory", memory),
    ("shared memory", shared_memory),
    ("open files", open_files),
    ("processes", processes),
    ("compilers", compilers),
    ("data directory", data_dir),
    ("ledger", ledger),
    ("weights' place", weights_dir),
    ("port", listening.port),
    ("unix socket", listening.unix_socket),
    ("ops port", listening.ops_port),
    ("certificate", listening.certificate),
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
    where: cluster_options.Where = None,
    as_json: AsJson = False,
    cluster: cluster_options.Cluster = False,
    listen: cluster_options.Listening = False,
    nodes: cluster_options.Nodes = 2,
    ports: cluster_options.Ports = None,
    node: cluster_options.Only = None,
    url: cluster_options.Url = None,
    api_key: cluster_options.AdminKey = None,
    wait: cluster_options.Wait = 600.0,
    node_token_file: cluster_options.NodeTokenFile = None,
    host: options.Host = None,
    port: options.Port = None,
    uds: options.Uds = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    ops_port: options.OpsPort = None,
    ops_host: options.OpsHost = None,
    registry: options.RegistryFile = None,
    profile: options.Profile = None,
    engine: options.Engine = None,
    model: options.Models = None,
    engine_arg: options.EngineArgs = None,
    data_dir: options.DataDir = None,
    engine_memory_gb: options.EngineMemory = None,
    offline: options.Offline = None,
    ledger_url: options.LedgerUrl = None,
) -> None:
    """Look whether this machine is ready to serve.

    And say what to do where it is not. Give it the flags that `fjord serve` gets. Each line is ok,
    a note, or BAD with what would be right; exit status 1 where one is bad. Nothing is changed,
    fetched or loaded; weights that are here are read once.

    With --cluster it looks whether several machines can run one engine: a server and the nodes
    that have joined it (`fjord node --join`). Before there is one: `fjord doctor --cluster
    --listen` on one machine, `fjord doctor --cluster HEAD:PORT` on each other, with one node token.
    """
    if cluster and where is None and not listen:
        server = server_of(url, port, data_dir, api_key)
        probed = joined_findings(server, ports_of(ports), node or ())
        raise typer.Exit(told(probed, as_json=as_json))
    if url is not None or api_key is not None or node:
        raise CannotStart("--url, --api-key and --node are for `fjord doctor --cluster` alone.")
    settings = read_settings(
        host=host,
        port=port,
        uds=uds,
        tls_cert=tls_cert,
        tls_key=tls_key,
        ops_port=ops_port,
        ops_host=ops_host,
        registry=registry,
        profile=profile,
        engine=engine,
        model=model,
        engine_arg=engine_arg,
        data_dir=data_dir,
        engine_memory_gb=engine_memory_gb,
        offline=offline,
        ledger_url=ledger_url,
        node_token_file=node_token_file,
    )
    if cluster:
        flags = ClusterFlags(
            where=where,
            listens=listen,
            nodes=nodes,
            ports="29500" if ports is None else ports,
            wait_s=wait,
            as_json=as_json,
        )
        raise typer.Exit(look_at_cluster(flags, settings))
    if where is not None or listen:
        raise CannotStart("HEAD:PORT and --listen are for `fjord doctor --cluster`.")
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
