"""Rules and boards: held by promtool, and asked of a real Prometheus that scrapes a real server."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml

from server.cli.main import app
from server.settings import Settings
from tests.support.key_commands import keys
from tests.support.paths import ROOT
from tests.support.prometheus import Prometheus, prometheus_tools, running
from tests.support.serve_process import ask, serving_registry
from tests.support.serving import wait_until

PROMETHEUS = ROOT / "deploy/prometheus"
BOARDS = sorted((ROOT / "deploy/grafana/boards").glob("*.json"))
REGISTRY = """\
models:
  tiny:
    source: echo
    engine: scripted
    context: 4K
    output: 1K
    preload: true
    price: {input: "4", output: "12"}
profiles:
  embedded: {}
"""
WITH_TLS = {"fjord_tls_certificate_expiry_timestamp_seconds"}
SOMETIMES = WITH_TLS | {
    # engines that know their cards and their scheduler
    "fjord_engine_planned_bytes",
    "fjord_engine_kv_cache_usage_ratio",
    "fjord_engine_running_requests",
    "fjord_engine_queued_requests",
    "fjord_engine_preemptions_total",
    "fjord_engine_prefix_hit_tokens_total",
    "fjord_engine_prefix_query_tokens_total",
    "fjord_engine_accepted_draft_tokens_total",
    "fjord_engine_draft_tokens_total",
    # a node of a site
    "fjord_ledger_unshipped_records",
    "fjord_ledger_set_aside_records",
    "fjord_ledger_site_contact_timestamp_seconds",
    # events that did not happen
    "fjord_requests_waiting",
    "fjord_engine_unloads_total",
    "fjord_broken_forms_total",
    "fjord_unknown_fields_total",
}
"""What a server need not tell; everything else has a value as soon as it served."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())[
        "tests"
    ]
    return found


def panels(board: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(board.read_text())["panels"]
    return found


def queries(board: Path) -> list[str]:
    """What a board asks, with all servers and models chosen."""
    variables = {"$instance": ".*", "$alias": ".*", "$__rate_interval": "5m"}
    found = [target["expr"] for panel in panels(board) for target in panel.get("targets", ())]
    for name, value in variables.items():
        found = [each.replace(name, value) for each in found]
    return found


def metrics_in(expression: str) -> set[str]:
    """The metrics that it names, a histogram's parts by its own name."""
    named = set(re.findall(r"\b(?:fjord|process)_\w+|\bup\b", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}


# Without a Prometheus


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_a_rule_says_what_is_and_what_to_do(rule: Mapping[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "action"}
    assert 'job="fjord"' in rule["expr"]
    text = " ".join(rule["annotations"].values())
    settings = {f"FJORD_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"FJORD_\w+", text)) <= settings
    assert unknown_commands(text) == []


def unknown_commands(text: str) -> list[str]:
    """`fjord …` in it that is no command."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("fjord", [], resilient_parsing=True)
    wrong = []
    for line in re.findall(r"`fjord ([^`]+)`", text):
        command, *rest = line.split()
        found = group.get_command(context, command)
        if found is not None and rest and rest[0].isalpha() and rest[0].islower():
            found = found.get_command(context, rest.pop(0))
        options = {each for p in getattr(found, "params", ()) for each in p.opts}
        if found is None or not {word for word in rest if word.startswith("--")} <= options:
            wrong.append(line)
    return wrong


def test_what_tls_alone_tells_has_the_servers_own_name_for_it() -> None:
    """No server here has a certificate, so that no Prometheus would find a wrong name."""
    sources = "".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
    told = set(re.findall(r'"(fjord_tls_\w+)"', sources))
    assert not told or told >= WITH_TLS


def test_a_command_that_is_none_is_found() -> None:
    assert unknown_commands("`fjord nope`, `fjord models nope X`, `fjord plan --nope`") == [
        "nope",
        "models nope X",
        "plan --nope",
    ]


def test_each_rule_is_held_to_fire_and_to_stay_silent() -> None:
    held: dict[str, set[bool]] = {}
    for case in cases():
        for asked in case["alert_rule_test"]:
            held.setdefault(asked["alertname"], set()).add(bool(asked["exp_alerts"]))
    assert held == {rule["alert"]: {True, False} for rule in rules()}


def test_every_rule_is_in_the_papers_and_no_other() -> None:
    named = set(re.findall(r"`(Fjord[A-Z]\w+)`", (ROOT / "docs/monitoring.md").read_text()))
    assert named == {rule["alert"] for rule in rules()}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_a_board_is_whole(board: Path) -> None:
    read = json.loads(board.read_text())
    assert read["uid"] == f"fjord-{board.stem}"
    assert read["tags"] == ["fjord"]
    ids = [panel["id"] for panel in read["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in read["panels"]:
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
    known = {variable["name"] for variable in read["templating"]["list"]}
    used = set(re.findall(r"\$([a-z]+)\b", board.read_text()))
    assert used <= known


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_no_panel_covers_another(board: Path) -> None:
    places = [panel["gridPos"] for panel in panels(board)]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


def test_grafana_finds_the_boards_and_its_source() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    [provider] = yaml.safe_load((folder / "dashboards/fjord.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    [source] = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert {board.stem for board in BOARDS} == {"fleet", "latency", "money", "limits"}


# With promtool and Prometheus


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    return prometheus_tools(tmp_path_factory.mktemp("tools"))


def promtool(tools: Mapping[str, str], *words: str | Path) -> None:
    said = subprocess.run(
        [tools["promtool"], *words], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.slow
def test_each_rule_fires_when_it_should_alone(tools: Mapping[str, str]) -> None:
    promtool(tools, "test", "rules", "alerts_test.yaml")


@pytest.mark.slow
def test_prometheus_takes_the_configuration_that_is_shipped(tools: Mapping[str, str]) -> None:
    promtool(tools, "check", "config", "prometheus.yml")


@dataclass(frozen=True)
class Watched:
    """A Prometheus, and the /metrics of the server that it scrapes."""

    prometheus: Prometheus
    exposed: str

    def known(self) -> set[str]:
        """Every metric that the server has a name for."""
        return set(re.findall(r"^# TYPE (\w+)", self.exposed, re.MULTILINE)) | {"up"}

    def told(self) -> set[str]:
        """Those that have a value."""
        named = re.findall(r"^(\w+)[ {]", self.exposed, re.MULTILINE)
        return {re.sub(r"_(bucket|sum|count)$", "", name) for name in named} | {"up"}


@pytest.fixture(scope="module")
def watched(
    tools: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with serving_registry(folder, REGISTRY) as server:
        url = f"http://127.0.0.1:{server.port}"
        with running(tools["prometheus"], configured(folder, server.port), folder) as prometheus:
            used(url, folder, server.key())
            text = httpx.get(f"{url}/metrics").text
            wait_until(lambda: is_scraped(prometheus), "Prometheus has scraped what was used")
            assert ask(url, server.key()).status_code == 200
            wait_until(lambda: has_rates(prometheus), "it has seen a number grow")
            yield Watched(prometheus, text)


def configured(folder: Path, port: str) -> Path:
    """The shipped configuration, for this one server and in less time."""
    read = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    read["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    read["rule_files"] = [str(PROMETHEUS / name) for name in read["rule_files"]]
    [job] = read["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(read))
    return path


def used(url: str, folder: Path, key: str) -> None:
    """One request of each kind that the boards show: answered, unknown, over a budget, too many."""

    def made(owner: str, *words: str) -> str:
        answer = keys(folder / "data", "create", "--name", owner, "--owner", owner, *words)
        text: str = answer["key"]
        wait_until(lambda: ask(url, text).status_code != 401, "the server takes the key")
        return text

    assert ask(url, key).status_code == 200
    assert ask(url, key, model="nope").status_code == 404
    assert ask(url, made("poor", "--budget", "0 tokens/total")).status_code == 402
    hasty = made("hasty", "--requests-per-minute", "1", "--burst", "0")
    assert ask(url, hasty).status_code == 429


def is_scraped(prometheus: Prometheus) -> bool:
    refused = prometheus.query("sum by (owner) (count_over_time(fjord_refused_requests_total[5m]))")
    counts = {each["metric"]["owner"]: int(each["value"][1]) for each in refused}
    return min(counts.get("poor", 0), counts.get("hasty", 0)) >= 3


def has_rates(prometheus: Prometheus) -> bool:
    """A request after the first scrape, without which every quantile is of nothing."""
    return bool(prometheus.query("rate(fjord_request_duration_seconds_count[5m]) > 0"))


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_every_query_of_a_board_has_an_answer(watched: Watched, board: Path) -> None:
    asked = queries(board)
    assert asked
    for query in asked:
        named = metrics_in(query)
        assert named <= watched.known() | WITH_TLS, query
        found = watched.prometheus.query(query)
        assert found or named & SOMETIMES, query


@pytest.mark.slow
def test_what_need_not_be_told_is_not_told_here(watched: Watched) -> None:
    """Else a query of it could be empty by mistake."""
    assert watched.told() & SOMETIMES == set()


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.stem))
def test_the_choices_of_a_board_are_there(watched: Watched, board: Path) -> None:
    for variable in json.loads(board.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert asked is not None
            found = watched.prometheus.query(asked[1].replace("$instance", ".*"))
            assert [each for each in found if each["metric"][asked[2]]]


@pytest.mark.slow
def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    def evaluated() -> list[dict[str, Any]]:
        [group] = watched.prometheus.ask("rules")["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    wait_until(lambda: all(r["health"] != "unknown" for r in evaluated()), "every rule is asked")
    assert [rule["name"] for rule in evaluated()] == [rule["alert"] for rule in rules()]
    assert [rule for rule in evaluated() if rule["health"] != "ok"] == []
    for rule in rules():
        assert metrics_in(rule["expr"]) <= watched.known() | WITH_TLS, rule["alert"]


@pytest.mark.slow
def test_a_first_refusal_for_a_budget_is_an_alert_and_nothing_else_is(watched: Watched) -> None:
    def firing() -> list[dict[str, Any]]:
        alerts = watched.prometheus.ask("alerts")["alerts"]
        return [each for each in alerts if each["state"] == "firing"]

    wait_until(firing, "the alert fires")
    [alert] = firing()
    assert alert["labels"]["alertname"] == "FjordBudgetSpent"
    assert alert["annotations"]["summary"] == "poor is refused: a budget is spent."
