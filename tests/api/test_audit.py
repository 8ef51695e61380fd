"""Every door through which something is changed leaves an entry that says who it was."""

import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.ledger.audit import AuditEntry, entries, note, verified
from server.ledger.open_books import open_books
from server.ledger.sqlite import prepared_ledger
from tests.support.serve_process import fjord
from tests.support.serving import Served, make_key, scripted, serving, wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, scripted("m"), scripted("other")) as made:
        yield made


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": make_key(served.data_dir, service="admin", name="ops")}
    with httpx.Client(base_url=f"{served.url}/admin/v1", headers=headers, timeout=60) as client:
        wait_until(lambda: client.get("/site").status_code == 200, "the key is taken")
        yield client


def logged(folder: Path) -> list[AuditEntry]:
    with closing(open_books(folder, None)) as books:
        assert verified(books) is not None
        return list(entries(books))


def done(folder: Path, before: int) -> list[tuple[str, str]]:
    return [(e.action, e.target) for e in logged(folder)[before:]]


def test_keys_owners_members_and_the_site(admin: httpx.Client, served: Served) -> None:
    before = len(logged(served.data_dir))
    owner = admin.post("/owners", json={"name": "acme"}).json()
    admin.patch("/owners/acme", json={"requests_per_minute": 7})
    member = admin.post("/members", json={"name": "Kari", "owner": "acme"}).json()
    admin.patch(f"/members/{member['member_id']}", json={"email": "k@example.com"})
    admin.patch("/site", json={"concurrent": 99})
    key = admin.post("/keys", json={"name": "k", "owner": "acme"}).json()
    admin.patch(f"/keys/{key['key_id']}", json={"name": "l"})
    admin.post(f"/keys/{key['key_id']}/rotate")
    admin.delete(f"/keys/{key['key_id']}")
    admin.delete(f"/keys/{key['key_id']}")  # it is revoked: nothing changes
    new = admin.post("/keys", json={"name": "m", "owner": "new"}).json()
    assert done(served.data_dir, before) == [
        ("owner.create", "acme"),
        ("owner.update", "acme"),
        ("member.create", member["member_id"]),
        ("member.update", member["member_id"]),
        ("site.update", "site"),
        ("key.create", key["key_id"]),
        ("key.update", key["key_id"]),
        ("key.rotate", key["key_id"]),
        ("key.revoke", key["key_id"]),
        ("owner.create", "new"),
        ("key.create", new["key_id"]),
    ]
    found = logged(served.data_dir)[before:]
    assert {(e.actor_kind, e.address) for e in found} == {("key", "127.0.0.1")}
    changed = json.loads(found[6].before), json.loads(found[6].after)
    assert [each["name"] for each in changed] == ["k", "l"]
    assert json.loads(found[1].after)["limits"] == {"requests_per_minute": 7}
    secret = key["key"].rsplit("_", 1)[1]
    assert not any(secret in e.after or "hash" in e.after for e in found)
    assert owner["owner_id"] in found[0].after


def test_what_fails_or_only_reads_leaves_none(admin: httpx.Client, served: Served) -> None:
    before = logged(served.data_dir)
    admin.post("/owners", json={"name": ""})
    admin.patch("/owners/nobody", json={"requests_per_minute": 7})
    admin.delete("/keys/none")
    admin.post("/models/none/load")
    for path in ("/keys", "/owners", "/members", "/site", "/usage", "/models", "/audit"):
        assert admin.get(path).status_code == 200
    httpx.post(f"{admin.base_url}keys", json={"name": "x"})  # without a key
    assert logged(served.data_dir) == before


def test_what_an_operator_tells_the_models(admin: httpx.Client, served: Served) -> None:
    before = len(logged(served.data_dir))
    for command in ("load", "pin", "unpin", "unload"):
        assert admin.post(f"/models/m/{command}").status_code == 200
    admin.post("/owners", json={"name": "acme"})
    admin.delete("/owners/acme/memory")
    admin.delete("/owners/nobody/memory")  # whom nobody knows
    assert done(served.data_dir, before) == [
        *((f"model.{command}", "m") for command in ("load", "pin", "unpin", "unload")),
        ("owner.create", "acme"),
        ("owner.forget", "acme"),
    ]


def test_it_is_read_page_by_page_and_verified(admin: httpx.Client, served: Served) -> None:
    for number in range(5):
        admin.post("/owners", json={"name": f"o{number}"})
    page = admin.get("/audit", params={"limit": 2, "action": "owner"}).json()["entries"]
    assert [e["target"] for e in page] == ["o4", "o3"]
    more = admin.get("/audit", params={"limit": 9, "before": page[-1]["number"]}).json()["entries"]
    assert [e["number"] for e in more] == list(range(page[-1]["number"] - 1, 0, -1))
    ahead = admin.get("/audit", params={"limit": 3, "after": 1}).json()["entries"]
    assert [e["number"] for e in ahead] == [2, 3, 4]
    for beside in ({"before": 3}, {"action": "owner"}):
        refused = admin.get("/audit", params={"after": 1, **beside})
        assert refused.json()["error"]["details"]["field"] in beside
    found = admin.get("/audit/verify").json()
    assert found["is_whole"]
    assert found["head"].startswith(f"{found['number']}:")
    assert admin.get("/audit/verify", params={"head": found["head"]}).json() == found
    wrong = admin.get("/audit/verify", params={"head": "no head"})
    assert wrong.status_code == 400
    assert "12:9f86d0" in wrong.json()["error"]["message"]
    with closing(open_books(served.data_dir, None)) as books:
        books.execute("DROP TRIGGER audit_update")
        books.execute("UPDATE audit SET actor = 'nobody' WHERE number = 2")
    broken = admin.get("/audit/verify").json()
    assert not broken["is_whole"]
    assert "Entry 2" in broken["reason"]


@pytest.mark.parametrize("error", [OSError("no space left"), sqlite3.OperationalError("locked")])
def test_what_cannot_be_noted_is_not_done(
    admin: httpx.Client,
    served: Served,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr("server.api.audited.note", full)
    loads = served.services.fleet.statuses()
    answer = admin.post("/models/other/load")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "OVERLOADED")
    assert "retry-after" in answer.headers
    assert "model.load of other is not done" in caplog.text
    assert [s.state for s in served.services.fleet.statuses()] == [s.state for s in loads]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of a server that has run."""
    prepared_ledger(tmp_path / "data")
    return tmp_path


def test_an_environment_makes_nobody_else_of_one(home: Path) -> None:
    fjord(home, "owners", "create", "victim", LOGNAME="alice", USER="alice")
    assert not logged(home / "data")[-1].actor.startswith("alice@")


def test_commands_are_somebodys_at_this_machine(home: Path) -> None:
    made = fjord(home, "keys", "create", "--name", "k", "--json")
    assert made.returncode == 0, made.stderr
    key_id = json.loads(made.stdout)["key_id"]
    fjord(home, "keys", "revoke", "k", "--yes")
    fjord(home, "prune", "--before", "2020-01-01", "--yes")  # there are none: it changes nothing
    found = logged(home / "data")
    assert (found[-1].action, found[-1].target) == ("key.revoke", key_id)
    assert {e.actor_kind for e in found} == {"command"}
    assert all(e.actor.endswith(f"@{socket.gethostname()}") for e in found)


def test_the_command_verifies_lists_and_exports(home: Path) -> None:
    fjord(home, "keys", "create", "--name", "k")
    told = fjord(home, "audit", "verify")
    assert told.returncode == 0, told.stderr
    head = told.stdout.split("Head: ")[1].strip()
    shown = fjord(home, "audit", "list", "--action", "key")
    assert "key.create" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    whole = json.loads(fjord(home, "audit", "export").stdout)
    assert [line["number"] for line in whole] == list(range(1, len(whole) + 1))
    assert fjord(home, "audit", "export", "--csv").stdout.startswith("number,at_us,")
    assert fjord(home, "audit", "verify", "--head", head).returncode == 0
    with closing(open_books(home / "data", None)) as books:
        books.execute("DROP TRIGGER audit_delete")
        books.execute("DELETE FROM audit WHERE number = 1")
    broken = fjord(home, "audit", "verify", "--head", head)
    assert broken.returncode == 2
    assert broken.stderr.strip() == "fjord: Entry 1 of the audit log is missing."
    other = "9" * 3 + ":" + "0" * 64
    assert fjord(home, "audit", "verify", "--head", other).returncode == 2


def test_an_entry_stands_with_its_change_in_one_transaction(home: Path) -> None:
    fjord(home, "keys", "create", "--name", "k")
    with closing(open_books(home / "data", None)) as books:
        note(books, "key.update", "k", {"a": 1}, {"a": 2})
        assert verified(books) is not None
