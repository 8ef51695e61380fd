"""deploy/helm/fjord as Helm renders it: Kubernetes' own schemas take it, and it is what we mean.

tests/project/test_helm_serves.py runs what its container would run.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from server import __version__
from server.settings import Settings
from tests.support.helm import CHART, Helm, Object, helm_program, only, pod, server
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow  # a program a test
DEPLOY = ROOT / "deploy"
VERSIONS = ("1.28", "1.33", "1.37")
"""Of Kubernetes: from the chart's oldest to the schemas' newest; each costs seconds."""
OPERATOR = "monitoring.coreos.com/v1"
EVERYTHING: Mapping[str, Any] = {
    "replicas": 3,
    "image": {"repository": "reg.example/llm/fjord", "tag": "1.2.3", "pullSecrets": ["pull"]},
    "registry": {"content": "models: {}\n"},
    "settings": {"queue_limit": 256, "max_body_bytes": 33554432, "verify": True, "burst": "50"},
    "extraEnv": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}],
    "extraArgs": ["--log-level", "debug"],
    "gpu": {"count": 8, "runtimeClassName": "nvidia"},
    "resources": {"requests": {"cpu": "8"}, "limits": {"memory": "512Gi"}},
    "data": {"size": "10Gi", "storageClass": "fast"},
    "models": {"existingClaim": "weights"},
    "fetch": {"enabled": True, "aliases": ["qwen3-vl-8b"], "tokenSecret": "hub", "endpoint": "https://hub"},
    "ledger": {"secret": "site"},
    "tls": {"secret": "cert"},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "boards": {"enabled": True, "annotations": {"grafana_folder": "Fjord"}},
    "networkPolicy": {
        "enabled": True,
        "apiFrom": [{"namespaceSelector": {}}],
        "opsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
        "egress": [{"ports": [{"port": 5432}]}],
    },
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "b"},
    "nodeSelector": {"gpu": "h100"},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "high",
}  # fmt: skip
CPU = {"gpu": {"count": 0}, "profile": "embedded", "ops": {"enabled": False}}
each_way = pytest.mark.parametrize(
    "values", [{}, CPU, EVERYTHING], ids=["as-it-is", "cpu", "everything"]
)


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    cache = request.config.cache
    assert cache is not None
    return helm_program(cache.mkdir("helm"))


@pytest.fixture
def helm(program: Path, tmp_path: Path) -> Helm:
    return Helm(program, tmp_path)


@each_way
def test_helms_own_lint_finds_nothing(helm: Helm, tmp_path: Path, values: Object) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(dict(values)))
    done = helm("lint", "--strict", str(CHART), "--values", str(tmp_path / "own.yaml"))
    assert done.returncode == 0, done.stdout
    assert "1 chart(s) linted, 0 chart(s) failed" in done.stdout


@each_way
def test_kubernetes_takes_each_object_in_old_and_new_versions(helm: Helm, values: Object) -> None:
    for each in helm.rendered(values):
        if each["apiVersion"] != OPERATOR:
            for version in VERSIONS:
                kubernetes_validate.validate(each, version, strict=True)
    assert kubernetes_validate.latest_version() == f"{VERSIONS[-1]}.0"


def test_the_schemas_would_find_a_typo(helm: Helm) -> None:
    found = only(helm.rendered({}), "StatefulSet")
    found["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    ("sets", "why"),
    [
        (("gpus.count=1",), "additional properties 'gpus' not allowed"),
        (("settings.queue_limits=1",), "queue_limits"),
        (("settings.port=1",), "port"),  # the chart's own
        (("replicas=2",), "/ledger/secret"),
        (("registry.content=a", "registry.existingConfigMap=b"), "one of the two"),
        (("fetch.enabled=true", "profile="), "/profile"),
        (("ops.port=8080",), "/ops/port"),
        (("sharedMemory=lots",), "/sharedMemory"),
        (("drainSeconds=soon",), "/drainSeconds"),
        (("tls.secret=No_Name",), "/tls/secret"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(
    helm: Helm, sets: tuple[str, ...], why: str
) -> None:
    assert why in helm.refusal(*sets)


def test_every_setting_is_the_charts_or_the_operators() -> None:
    """One that is new has to be put into the schema, or into a template."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    free = set(schema["properties"]["settings"]["propertyNames"]["enum"])
    text = "".join(path.read_text() for path in CHART.glob("templates/*"))
    own = {name.lower() for name in re.findall(r"FJORD_([A-Z_]+)", text)}
    of_the_image = {"data_dir", "weights_dir", "port"}
    of_commands, of_no_pod = {"url", "api_key"}, {"uds", "uds_mode", "no_auth", "advertise"}
    of_no_pod |= {"node_token", "node_token_file"}
    assert own - {"port"} == {
        *("drain_timeout_s", "host", "ledger_url", "node", "ops_host", "ops_port", "profile"),
        *("registry", "tls_cert", "tls_key", "memory_key"),
    }
    assert free | own | of_the_image | of_commands | of_no_pod == set(Settings.model_fields)
    assert not free & (own | of_the_image | of_commands | of_no_pod)


def test_settings_reach_the_server_as_they_were_written(helm: Helm) -> None:
    container = server(helm.rendered(EVERYTHING))
    given = {each["name"]: each.get("value") for each in container["env"]}
    for name, value in EVERYTHING["settings"].items():
        assert given[f"FJORD_{name.upper()}"] == str(value).lower()
    assert container["args"] == ["serve", "--log-level", "debug"]
    assert len(given) == len(container["env"]), "a variable twice"


@each_way
def test_no_pod_may_more_than_it_needs(helm: Helm, values: Object) -> None:
    spec = pod(helm.rendered(values))
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["automountServiceAccountToken"] is False
    for each in [*spec.get("initContainers", ()), *spec["containers"]]:
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@each_way
def test_what_is_written_is_mounted(helm: Helm, values: Object) -> None:
    objects, recipe = helm.rendered(values), (ROOT / "Dockerfile.cuda").read_text()
    spec, claims = pod(objects), only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
    kept = {each["metadata"]["name"] for each in claims}
    volumes = kept | {each["name"] for each in spec["volumes"]}
    assert len(volumes) == len(kept) + len(spec["volumes"]), "a volume twice"
    for each in [*spec.get("initContainers", ()), *spec["containers"]]:
        mounts = {mount["mountPath"]: mount for mount in each["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == volumes
        written = {path for path, mount in mounts.items() if not mount.get("readOnly")}
        [image] = re.findall(r'^VOLUME \["(.*)", "(.*)"\]', recipe, re.MULTILINE)
        assert written == {*image, "/tmp", "/dev/shm"}
    assert "data" in kept


@pytest.mark.parametrize(("drain", "pre_stop"), [(0, 0), (60, 5), (3600, 30)])
def test_answers_that_run_have_their_time(helm: Helm, drain: int, pre_stop: int) -> None:
    objects = helm.rendered({"drainSeconds": drain, "preStopSeconds": pre_stop})
    given = {each["name"]: each.get("value") for each in server(objects)["env"]}
    assert given["FJORD_DRAIN_TIMEOUT_S"] == str(drain)
    assert server(objects)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(pre_stop)]
    assert pod(objects)["terminationGracePeriodSeconds"] >= drain + pre_stop + 15


@each_way
def test_no_secret_is_in_what_is_rendered(helm: Helm, values: Object) -> None:
    objects = helm.rendered(values)
    assert not [each for each in objects if each["kind"] == "Secret"]
    for each in server(objects)["env"]:
        if re.search("TOKEN|LEDGER_URL|PASSWORD", each["name"]):
            assert "secretKeyRef" in each["valueFrom"]


def test_cards_are_asked_for_only_where_there_are_to_be_some(helm: Helm) -> None:
    spec = pod(helm.rendered(EVERYTHING))
    assert spec["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 8, "memory": "512Gi"}
    assert spec["runtimeClassName"] == "nvidia"
    assert [each["key"] for each in spec["tolerations"]] == ["nvidia.com/gpu", "llm"]
    [fetch] = spec["initContainers"]
    assert "resources" not in fetch
    spec = pod(helm.rendered(CPU))
    assert spec["containers"][0]["resources"]["limits"] == {}
    assert not spec.keys() & {"runtimeClassName", "tolerations"}


def test_rules_and_boards_are_the_ones_of_the_papers(helm: Helm) -> None:
    objects = helm.rendered(EVERYTHING)
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
    assert only(objects, "PrometheusRule")["spec"] == rules
    held = {
        name: text
        for each in objects
        if each["kind"] == "ConfigMap" and "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    boards = {f"fjord-{path.name}": path for path in (DEPLOY / "grafana/boards").glob("*.json")}
    assert held.keys() == boards.keys()
    for name, path in boards.items():
        assert json.loads(held[name]) == json.loads(path.read_text())


def test_prometheus_scrapes_each_pod_under_the_job_of_the_rules(helm: Helm) -> None:
    objects = helm.rendered(EVERYTHING)
    monitor = only(objects, "ServiceMonitor")["spec"]
    [scraped] = monitor["endpoints"]
    asked = monitor["selector"]["matchLabels"].items()
    services = [each for each in objects if each["kind"] == "Service"]
    [nodes] = [each for each in services if asked <= each["metadata"]["labels"].items()]
    assert [port["name"] for port in nodes["spec"]["ports"]] == [scraped["port"]]
    assert nodes["spec"]["publishNotReadyAddresses"] is True
    assert {"targetLabel": "job", "replacement": "fjord"} in scraped["relabelings"]
    assert 'job="fjord"' in (DEPLOY / "prometheus/alerts.yaml").read_text()
    assert (scraped["path"], scraped["scheme"]) == ("/metrics", "https")


@each_way
def test_services_lead_to_the_pods(helm: Helm, values: Object) -> None:
    objects = helm.rendered(values)
    template = only(objects, "StatefulSet")["spec"]["template"]
    ports = {each["name"] for each in server(objects)["ports"]}
    services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
    for each in services.values():
        assert each["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        assert {port["targetPort"] for port in each["spec"]["ports"]} <= ports
    assert only(objects, "StatefulSet")["spec"]["serviceName"] in services
    api = services["fjord"]["spec"]["ports"]
    assert [port["targetPort"] for port in api] == ["api"]  # and no operators' port


@pytest.mark.parametrize("name", ["fjord", "a", "a" * 53, "my-fjord-" + "b" * 44])
def test_names_fit_into_a_label(helm: Helm, name: str) -> None:
    for each in helm.rendered(EVERYTHING, name):
        found = each["metadata"]["name"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", found)
        assert len(found) <= (52 if each["kind"] == "StatefulSet" else 63 + 14)
        if each["kind"] == "Service":
            assert len(found) <= 63


def test_a_new_version_of_the_chart_alone_ends_no_pod(helm: Helm) -> None:
    template = only(helm.rendered({}), "StatefulSet")["spec"]["template"]
    assert (
        not {"app.kubernetes.io/version", "helm.sh/chart"} & template["metadata"]["labels"].keys()
    )


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_the_packed_chart_has_rules_and_boards(helm: Helm, tmp_path: Path) -> None:
    """They are links in the checkout."""
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    [packed] = tmp_path.glob("fjord-*.tgz")
    done = helm("template", "x", str(packed), "--set=prometheusRule.enabled=true")
    assert "FjordDown" in done.stdout
