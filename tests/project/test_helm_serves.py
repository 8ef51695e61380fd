"""What the chart's container would run, run: its arguments, its environment, its probes' paths."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support import certificates
from tests.support.helm import Helm, Object, helm_program, only, pod, server
from tests.support.serve_process import Server, fjord, serving
from tests.support.serving import wait_until

pytestmark = pytest.mark.slow  # processes of their own
REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    args: {load_s: 2}
    context: 4K
    output: 1K
    preload: true
profiles: {cuda: {}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    cache = request.config.cache
    assert cache is not None
    return Helm(helm_program(cache.mkdir("helm")), tmp_path)


@contextlib.contextmanager
def run(objects: list[Object], home: Path) -> Iterator[tuple[Server, dict[str, int]]]:
    """The container on this machine, and its ports by name: its folders are in `home`, its API's
    port is any free one."""
    container = server(objects)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    ports["api"] = free_port()
    given: dict[str, Any] = {
        each["name"]: placed(each["value"], home) for each in container["env"] if "value" in each
    }
    held = only(objects, "ConfigMap")["data"]
    (home / "etc/fjord").mkdir(parents=True)
    (home / "etc/fjord/model_registry.yaml").write_text(held["model_registry.yaml"])
    command, *arguments = container["args"]
    assert command == "serve"
    given |= {"FJORD_PORT": str(ports["api"]), "FJORD_DATA_DIR": str(home / "data")}
    with serving(home, *arguments, has_port=False, **given) as served:
        yield served, ports


def placed(value: str, home: Path) -> str:
    return f"{home}{value}" if value.startswith(("/etc/fjord/", "/tls/")) else value


def probe(container: Mapping[str, Any], name: str, ports: Mapping[str, int]) -> int:
    """The status that a kubelet would see: it compares no certificate."""
    asked = container[name]["httpGet"]
    url = f"{asked['scheme'].lower()}://127.0.0.1:{ports[asked['port']]}{asked['path']}"
    return httpx.get(url, verify=False, timeout=container[name]["timeoutSeconds"]).status_code


def values(**more: Any) -> dict[str, Any]:
    return {"listen": "127.0.0.1", "registry": {"content": REGISTRY}, **more}


@pytest.mark.parametrize("has_ops", [True, False], ids=["ops-port", "one-port"])
@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "tls"])
def test_the_server_takes_it_and_answers_its_probes(
    helm: Helm, tmp_path: Path, has_ops: bool, has_tls: bool
) -> None:
    """Alive from its first seconds, ready once its model is loaded."""
    ops = {"enabled": has_ops, "port": free_port()}
    chosen = values(ops=ops, settings={"queue_limit": 7, "max_body_bytes": 33554432})
    if has_tls:
        chosen["tls"] = {"secret": "cert"}
        (tmp_path / "tls").mkdir()
        made = certificates.made()
        (tmp_path / "tls/tls.crt").write_bytes(made.cert)
        (tmp_path / "tls/tls.key").write_bytes(made.key)
    objects = list(helm.rendered(chosen))
    container = server(objects)
    with run(objects, tmp_path) as (served, ports):
        served.until("Fjord at http")
        assert probe(container, "startupProbe", ports) == 200
        assert probe(container, "readinessProbe", ports) == 503
        assert probe(container, "livenessProbe", ports) == 200
        served.until("Ready")
        wait_until(lambda: probe(container, "readinessProbe", ports) == 200, "ready")
        metrics = {"httpGet": {**container["readinessProbe"]["httpGet"], "path": "/metrics"}}
        asked = {"metrics": {**metrics, "timeoutSeconds": 5}}
        assert probe(asked, "metrics", ports) == 200
        api = {"metrics": {**asked["metrics"], "httpGet": {**metrics["httpGet"], "port": "api"}}}
        assert probe(api, "metrics", ports) == (404 if has_ops else 200)


def test_what_fetches_for_it_is_a_command_too(helm: Helm, tmp_path: Path) -> None:
    objects = list(helm.rendered(values(fetch={"enabled": True, "aliases": ["tiny"]})))
    [fetch] = pod(objects)["initContainers"]
    (tmp_path / "model_registry.yaml").write_text(REGISTRY)
    given = {each["name"]: each["value"] for each in fetch["env"] if "value" in each}
    given["FJORD_REGISTRY"] = str(tmp_path / "model_registry.yaml")
    done = fjord(tmp_path, *fetch["args"], **given)
    assert done.returncode == 0, done.stderr


def test_why_a_pod_is_told_of_no_services(helm: Helm, tmp_path: Path) -> None:
    """A service called fjord would have Kubernetes set FJORD_PORT in each pod beside it."""
    (tmp_path / "model_registry.yaml").write_text(REGISTRY)
    done = fjord(tmp_path, "serve", FJORD_PORT="tcp://10.0.0.1:8080", FJORD_PROFILE="cuda")
    assert done.returncode == 2
    assert "FJORD_PORT" in done.stderr
    assert pod(helm.rendered({}))["enableServiceLinks"] is False


def test_a_changed_registry_restarts_no_pod(helm: Helm, tmp_path: Path) -> None:
    """A ConfigMap's files are swapped as a whole; `fjord apply` in the pod reads the new one."""
    one = values(ops={"enabled": True, "port": free_port()})
    models = yaml.safe_load(REGISTRY)["models"]
    two = {"models": {**models, "second": models["tiny"]}, "profiles": {"cuda": {}}}
    before = list(helm.rendered(one))
    after = list(helm.rendered({**one, "registry": {"content": yaml.safe_dump(two)}}))
    assert only(after, "StatefulSet") == only(before, "StatefulSet")
    with run(before, tmp_path) as (served, _):
        served.until("Ready")
        (tmp_path / "new").write_text(only(after, "ConfigMap")["data"]["model_registry.yaml"])
        os.replace(tmp_path / "new", tmp_path / "etc/fjord/model_registry.yaml")
        applied = fjord(tmp_path, "apply", FJORD_DATA_DIR=str(tmp_path / "data"))
        assert applied.returncode == 0, applied.stderr
        assert "second" in applied.stdout
