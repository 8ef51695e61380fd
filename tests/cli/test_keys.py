"""`fjord keys …` and the keys table, also while a server runs on the same directory."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from server.accounts.auth import AuthFailed, KeyRing
from server.cli import invoice as invoice_cli
from server.cli import prune as prune_cli
from server.cli import usage as usage_cli
from server.cli.key_fields import moment_of
from server.cli.keys import app
from server.ledger.key_store import KeyStore
from server.ledger.keys import Key, hash_of
from server.ledger.ledger import Ledger
from server.ledger.sqlite import FILE_NAME, prepared_ledger
from tests.support.key_commands import keys, refused
from tests.support.paths import ROOT

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def ledger_file(tmp_path: Path) -> Path:
    """Commands find a ledger; none of them makes one."""
    return prepared_ledger(tmp_path)


def test_a_new_key_is_shown_once_and_only_its_hash_is_stored(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "first", "--owner", "acme")
    prefix, service, key_id, secret = made["key"].split("_")
    assert (prefix, service, key_id) == ("wayscloud", "llm", made["key_id"])
    assert (len(key_id), len(secret)) == (10, 56)
    assert "key" not in keys(tmp_path, "show", made["key_id"])
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        dump = "\n".join(connection.iterdump())
    assert secret not in dump
    assert hash_of(made["key"]).hex().upper() in dump.upper()
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes()


def test_every_field_of_a_key_is_kept_changed_and_set_back(tmp_path: Path) -> None:
    made = keys(
        tmp_path, "create", "--name", "n", "--owner", "acme", "--models", "a, b",
        "--requests-per-minute", "10", "--burst", "2", "--concurrent", "3",
        "--tokens-per-minute", "1000", "--budget", "500.5 NOK/month", "--expires", "2999-01-31",
    )  # fmt: skip
    assert made["models"] == ["a", "b"]
    assert made["budget"] == {"kind": "money", "amount": "500.5", "period": "month"}
    assert (made["currency"], made["expires_at"]) == ("NOK", "2999-02-01T00:00:00Z")
    limits = ("requests_per_minute", "burst", "concurrent", "tokens_per_minute")
    assert [made[name] for name in limits] == [10, 2, 3, 1000]

    changed = keys(
        tmp_path, "update", made["key_id"], "--name", "m", "--budget", "7 tokens/day",
        "--unset", "burst", "--unset", "models", "--unset", "expires",
    )  # fmt: skip
    assert changed["budget"] == {"kind": "tokens", "amount": "7", "period": "day"}
    assert [changed[name] for name in limits] == [10, None, 3, 1000]
    assert (changed["name"], changed["owner"]) == ("m", "acme")
    assert (changed["models"], changed["expires_at"]) == (None, None)


@pytest.mark.parametrize("currency", ["EUR", "eur"])
def test_a_budget_in_another_currency_than_the_keys_is_refused_with_both_named(
    tmp_path: Path, currency: str
) -> None:
    money = ["--budget", "500 NOK/month"]
    text = refused(tmp_path, "create", "--name", "n", *money, "--currency", currency)
    assert "is in NOK and --currency is EUR" in text
    made = keys(tmp_path, "create", "--name", "n", "--currency", currency)
    text = refused(tmp_path, "update", made["key_id"], *money)
    assert "is in NOK and the key is billed in EUR" in text
    shown = keys(tmp_path, "show", made["key_id"])
    assert shown.pop("used")["requests"] == 0
    assert shown == {n: v for n, v in made.items() if n != "key"}
    both = keys(tmp_path, "update", made["key_id"], *money, "--currency", "NOK")
    assert (both["currency"], both["budget"]["amount"]) == ("NOK", "500")
    text = refused(tmp_path, "update", made["key_id"], "--currency", currency)
    assert "a budget of 500.000000 NOK, which would become as many EUR" in text
    euros = ["--budget", "500 EUR/month", "--currency", currency]
    both = keys(tmp_path, "update", made["key_id"], *euros)
    assert (both["currency"], both["budget"]["amount"]) == ("EUR", "500")
    keys(tmp_path, "update", made["key_id"], *money, "--currency", "NOK")
    tokens = keys(tmp_path, "update", made["key_id"], "--budget", "5 tokens/day")
    assert (tokens["currency"], tokens["budget"]["kind"]) == ("NOK", "tokens")


def test_an_admin_key_has_its_own_prefix(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "root", "--admin")
    assert made["key"].startswith(f"wayscloud_admin_{made['key_id']}_")


def test_rotating_keeps_everything_but_the_text(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "n", "--budget", "5 EUR/total")
    rotated = keys(tmp_path, "rotate", made["key_id"], "--grace", "24")
    assert rotated["key"] != made["key"]
    assert rotated["previous_until"] is not None
    same = set(made) - {"key", "previous_until"}
    assert {name: rotated[name] for name in same} == {name: made[name] for name in same}


def test_a_revoked_key_stays_in_the_list_and_stays_revoked(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "n")
    first = keys(tmp_path, "revoke", made["key_id"])
    again = keys(tmp_path, "revoke", made["key_id"])
    assert first["revoked_at"] == again["revoked_at"] is not None
    assert [key["state"] for key in keys(tmp_path, "list")] == ["revoked"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-06-30", "2027-07-01T00:00:00+00:00"),
        ("2027-12-31", "2028-01-01T00:00:00+00:00"),
        ("2027-06-30T00:00", "2027-06-30T00:00:00+00:00"),
        ("2027-06-30T12:00+02:00", "2027-06-30T12:00:00+02:00"),
    ],
)
def test_a_date_alone_is_a_keys_last_day(text: str, moment: str) -> None:
    assert moment_of(text).isoformat() == moment


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "--name", "new"],
        ["update", "n", "--concurrent", "3"],
        ["rotate", "n"],
        ["revoke", "n", "--yes"],
    ],
)
def test_a_sites_keys_are_not_changed_in_a_nodes_copy_of_them(
    tmp_path: Path, arguments: list[str]
) -> None:
    """The copy is overwritten: a revoked key would be good again."""
    before = [keys(tmp_path, "create", "--name", "n")["key_id"]]
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("INSERT INTO meta (name, value) VALUES ('keys_of_site', '1')")
    assert "give its --ledger-url" in refused(tmp_path, *arguments)
    (listed,) = keys(tmp_path, "list")
    assert ([listed["key_id"]], listed["state"], listed["concurrent"]) == (before, "active", None)
    Ledger.open(tmp_path, node="n").lock.release()  # a server that has left its site
    keys(tmp_path, *arguments)


@pytest.mark.parametrize("stored", [float("inf"), 1e300, 253402300800.0, -1e13])
def test_a_time_that_no_calendar_has_hides_no_key(tmp_path: Path, stored: float) -> None:
    made = keys(tmp_path, "create", "--name", "n")
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection, connection:
        connection.execute("UPDATE keys SET expires_at = ?, previous_until = ?", (stored, stored))
    (listed,) = keys(tmp_path, "list")
    shown = "9999-12-31T00:00:00Z" if stored > 0 else "1970-01-01T00:00:00Z"
    assert (listed["expires_at"], listed["previous_until"]) == (shown, shown)
    assert keys(tmp_path, "update", made["key_id"], "--unset", "expires")["expires_at"] is None


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (app, ["create", "--name", "n"]),
        (app, ["list"]),
        (usage_cli.app, []),
        (invoice_cli.app, ["--owner", "acme"]),
        (prune_cli.app, ["--before", "2026-01-01", "--yes"]),
    ],
)
@pytest.mark.parametrize("place", ["elsewhere", "not/there"])
def test_a_folder_without_a_ledger_is_said_and_left_as_it_is(
    tmp_path: Path, place: str, command: Any, arguments: list[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    done = CliRunner().invoke(command, [*arguments, "--data-dir", str(tmp_path / place)])
    assert done.exit_code == 2
    assert f"There is no ledger in {tmp_path / place}." in done.stderr
    assert "fjord serve" in done.stderr
    assert "--data-dir" in done.stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (tmp_path / "not").exists()


def test_tables_are_for_people(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "[red]n", "--models", "a,b", "--budget", "5 EUR/day")
    shown = CliRunner().invoke(app, ["list", "--data-dir", str(tmp_path)], env={"COLUMNS": "200"})
    for word in (made["key_id"], "[red]n", "a, b", "5 EUR/day", "active"):
        assert word in shown.stdout


async def until_refused(ring: KeyRing, text: str) -> None:
    async with asyncio.timeout(2):
        while True:
            try:
                ring.find(text)
            except AuthFailed:
                return
            await asyncio.sleep(0.01)


async def until_known(ring: KeyRing, text: str) -> None:
    async with asyncio.timeout(2):
        while True:
            try:
                ring.find(text)
            except AuthFailed:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.alone
async def test_another_process_makes_and_revokes_keys_of_a_running_server_within_two_seconds(
    tmp_path: Path,
) -> None:
    ledger, ring = Ledger.open(tmp_path, node="n"), KeyRing()
    await ledger.start(ring)

    def command(*arguments: str) -> Any:
        code = "from server.cli.keys import app; app()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--data-dir", str(tmp_path), "--json"],
            capture_output=True,
            check=True,
            cwd=ROOT,
        )
        return json.loads(done.stdout)

    made = command("create", "--name", "n")
    await until_known(ring, made["key"])
    command("revoke", made["key_id"])
    await until_refused(ring, made["key"])
    await ledger.stop()


def test_two_changes_of_a_key_at_once_both_count(tmp_path: Path) -> None:
    made = keys(tmp_path, "create", "--name", "n")
    ledger = Ledger.open(tmp_path, node="n")
    ledger.lock.release()
    with closing(ledger.open_books()) as one, closing(ledger.open_books()) as two:

        def slow_rename(key: Key) -> Key:
            other.start()
            other.join(0.2)
            assert other.is_alive()  # it waits for this change to be done
            return replace(key, name="renamed")

        other = Thread(
            target=lambda: KeyStore(two).update(
                made["key_id"], lambda key: replace(key, owner="moved")
            )
        )
        KeyStore(one).update(made["key_id"], slow_rename)
        other.join()
        final = KeyStore(one).get(made["key_id"])
    assert (final.name, final.owner) == ("renamed", "moved")
