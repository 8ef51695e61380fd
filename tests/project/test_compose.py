"""deploy/compose.yaml: what it names is there, nobody else reaches it, and no secret is in it."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from server.ledger import postgres
from server.ledger.errors import LedgerUnavailable
from server.settings import Settings
from tests.support.paths import ROOT
from tests.support.sites import new_site, postgres_server

DEPLOY = ROOT / "deploy"
SERVERS = {"gpu": "fjord", "cpu": "fjord-cpu"}
"""Profile -> the server that it starts."""
OTHERS = {"postgres", "prometheus", "grafana"}
KEYS = {
    *("build", "cap_drop", "command", "deploy", "environment", "healthcheck", "image", "logging"),
    *("networks", "ports", "profiles", "restart", "secrets", "security_opt", "shm_size"),
    *("stop_grace_period", "volumes"),
}
"""Of a service, as the Compose specification spells them."""


def compose(**variables: str) -> dict[str, Any]:
    """The file, its variables filled in."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1], match[2])

    text = re.sub(r"\$\{(\w+):-([^}]*)\}", value, (DEPLOY / "compose.yaml").read_text())
    assert "$" not in text, "a variable without a default"
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


each_service = pytest.mark.parametrize("name", sorted({*SERVERS.values(), *OTHERS}))
each_server = pytest.mark.parametrize("name", sorted(SERVERS.values()))


def test_each_profile_starts_one_server_and_the_others_always_start() -> None:
    profiles = {name: service.get("profiles") for name, service in services().items()}
    assert profiles == {
        **{server: [profile] for profile, server in SERVERS.items()},
        **dict.fromkeys(OTHERS),
    }


@each_service
def test_a_service_is_bounded_and_says_how_it_is(name: str) -> None:
    service = services()[name]
    assert service.keys() <= KEYS
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check.keys() == {"test", "interval", "timeout", "start_period", "retries"}
    assert "stop_grace_period" in service


@each_service
def test_a_port_is_reached_from_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_another_address_is_the_operators_word() -> None:
    server = compose(BIND="10.0.0.1", PORT="80")["services"]["fjord"]
    assert server["ports"] == ["10.0.0.1:80:8080"]


def mounts(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(source, target, mode) of each."""
    for each in service.get("volumes", ()):
        source, target, *mode = each.split(":")
        yield source, target, mode[0] if mode else "rw"


def test_every_volume_is_declared_and_used() -> None:
    used = {s for each in services().values() for s, _, _ in mounts(each) if "/" not in s}
    assert compose()["volumes"] == {name: {"name": name} for name in used}


@each_service
def test_what_is_mounted_is_there_and_cannot_be_written(name: str) -> None:
    for source, _, mode in mounts(services()[name]):
        if "/" in source:
            assert (DEPLOY / source).resolve().exists()
            assert mode == "ro"


@each_server
def test_the_servers_variables_are_settings(name: str, tmp_path: Path) -> None:
    variables = services()[name]["environment"]
    given = {key.removeprefix("FJORD_").lower(): value for key, value in variables.items()}
    assert set(given) <= set(Settings.model_fields)
    assert all(key.startswith("FJORD_") for key in variables)
    settings = Settings(**given, data_dir=tmp_path)
    grace_s = int(services()[name]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= settings.drain_timeout_s + 10


@each_server
def test_a_server_is_built_from_what_is_here(name: str) -> None:
    build = services()[name]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    recipe = (ROOT / build["dockerfile"]).read_text()
    for _, target, _ in mounts(services()[name]):
        assert f'"/{target.split("/")[1]}"' in recipe[recipe.index("\nVOLUME") :]
    compile(services()[name]["healthcheck"]["test"][-1], "healthcheck", "exec")


def test_secrets_are_files_that_no_commit_has() -> None:
    read = compose()
    for name, secret in read["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
        ignored = ["git", "check-ignore", "-q", f"deploy/secrets/{name}"]
        if (ROOT / ".git").exists():
            assert subprocess.run(ignored, cwd=ROOT).returncode == 0
    asked = {name for each in read["services"].values() for name in each.get("secrets", ())}
    assert asked == read["secrets"].keys()


@each_service
def test_no_variable_holds_a_secret(name: str) -> None:
    service = services()[name]
    places = [f"/run/secrets/{secret}" for secret in service.get("secrets", ())]
    for variable, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
            assert variable.endswith(("_FILE", "FJORD_MEMORY_KEY"))
            assert value in places
        if value.startswith("postgresql:"):
            url = conninfo_to_dict(value)
            assert "password" not in url
            assert url["passfile"] in places


def test_the_secrets_of_the_papers_are_those_that_are_asked_for() -> None:
    papers = (ROOT / "docs/docker.md").read_text()
    made = set(re.findall(r"> (\w+)$", papers, re.MULTILINE))
    assert made == compose()["secrets"].keys()
    [line] = re.findall(r"printf '([^%]+):%s", papers)
    url = conninfo_to_dict(services()["fjord"]["environment"]["FJORD_LEDGER_URL"])
    assert line.split(":") == [url["host"], "5432", url["dbname"], url["user"]]
    database = services()["postgres"]["environment"]
    assert (url["user"], url["dbname"]) == (database["POSTGRES_USER"], database["POSTGRES_DB"])
    assert url["host"] in services()


def test_prometheus_finds_rules_and_server() -> None:
    read = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    places = {target for _, target, _ in mounts(services()["prometheus"])}
    assert {f"/etc/prometheus/{name}" for name in read["rule_files"]} <= places
    [job] = read["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["fjord:8080"]}]
    assert services()["fjord-cpu"]["networks"]["default"]["aliases"] == ["fjord"]


def test_grafana_finds_boards_and_prometheus() -> None:
    grafana = services()["grafana"]
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/fjord.yaml").read_text())[
        "providers"
    ][0]
    by_target = {target: source for source, target, _ in mounts(grafana)}
    assert by_target[provider["options"]["path"]] == "./grafana/boards"
    assert by_target["/etc/grafana/provisioning"] == "./grafana/provisioning"
    assert grafana["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


@pytest.mark.slow
def test_the_servers_url_takes_its_password_from_the_file(tmp_path: Path) -> None:
    """From PostgreSQL's own kind of file, as compose.yaml mounts it; a wrong one opens nothing."""
    passfile = tmp_path / "pgpass"
    with postgres_server() as server:
        url = f"{new_site(server)}&passfile={passfile}"
        with closing(postgres.connect(server.get_uri())) as connection:
            connection.execute("ALTER USER CURRENT_USER PASSWORD 'right'")
            hba = connection.execute("SHOW hba_file").fetchone()
            assert hba is not None
            Path(hba[0]).write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        for word in ("wrong", "right"):
            passfile.write_text(f"*:*:*:*:{word}\n")
            passfile.chmod(0o600)
            if word == "wrong":
                with pytest.raises(LedgerUnavailable, match="password authentication failed"):
                    postgres.open_database(url)
            else:
                postgres.open_database(url).close()
