"""A copy of a ledger in use has all that was acknowledged, and becomes the ledger again."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.old_ledgers import make_sqlite
from server.ledger import schema
from server.ledger.audit import ChainBroken, note, verified
from server.ledger.backup import back_up, checked, contents
from server.ledger.errors import LedgerError, LedgerInUse
from server.ledger.ledger import Ledger
from server.ledger.owner_store import OwnerStore
from server.ledger.restoring import PART, Lost, Restore
from server.ledger.site_store import SiteStore
from server.ledger.sqlite import FILE_NAME, connect, prepared_ledger
from tests.support.invoicing import add, local_books, used
from tests.support.paths import ROOT, TESTS
from tests.support.serving import make_key
from tests.support.tenants import new_member, new_owner, tokens

pytestmark = pytest.mark.anyio

ENDS = 'SELECT record_id, "end" FROM usage_records ORDER BY seq'


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Of five records and a key."""
    make_key(tmp_path / "data", name="first")
    with local_books(tmp_path / "data")() as database:
        add(database, *(used("2026-10") for _ in range(5)))
    return tmp_path / "data" / FILE_NAME


@pytest.fixture
def backup(ledger: Path, tmp_path: Path) -> Path:
    back_up(ledger, tmp_path / "backup")
    return tmp_path / "backup"


@pytest.fixture
def busy(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A server that opens and closes records as fast as it can, and says so of each."""
    child = [sys.executable, str(TESTS / "support/ledger_child.py"), "serve", str(tmp_path), "r"]
    with subprocess.Popen(
        child, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        yield process
        process.kill()
        assert process.stdout is not None
        process.stdout.read()


@pytest.mark.slow
async def test_a_backup_under_load_has_every_record_that_was_acknowledged(
    tmp_path: Path, busy: "subprocess.Popen[str]"
) -> None:
    assert busy.stdout is not None
    done: set[str] = set()
    opened: set[str] = set()
    for number in range(4):
        for _ in range(300):
            step, name = busy.stdout.readline().split()
            (done if step == "done" else opened).add(name)
        copy = tmp_path / f"copy-{number}"
        back_up(tmp_path / FILE_NAME, copy)

        data_dir = tmp_path / f"restored-{number}"
        data_dir.mkdir()
        restoring = Restore(copy, data_dir)
        restoring.prepare()
        assert restoring.complete() is None
        again = Ledger.open(data_dir, node="n")  # closes what ran at that moment
        await again.start()
        await again.stop()
        again.lock.release()
        found = dict(rows(data_dir / FILE_NAME, ENDS))
        assert len(found) == contents(data_dir / FILE_NAME).records
        assert all(found[name] == "ok" for name in done)
        assert opened - found.keys() == set()
        sums = "SELECT sum(requests), sum(amount) FROM daily"
        total = "SELECT count(*), sum(amount) FROM records"
        assert rows(data_dir / FILE_NAME, sums) == rows(data_dir / FILE_NAME, total)


def test_a_backup_is_one_file_for_its_owner_alone(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    assert not list(backup.parent.glob("backup-*"))
    found = contents(backup)
    assert (found.records, found.last_seq, found.keys, found.invoices) == (5, 5, 1, 0)


def test_a_restored_ledger_is_the_backup_and_the_present_one_is_kept(
    ledger: Path, backup: Path
) -> None:
    with local_books(ledger.parent)() as database:
        add(database, used("2026-11"), used("2026-11"))
    make_key(ledger.parent, name="later")
    restoring = Restore(backup, ledger.parent)
    found, lost = restoring.prepare()
    assert found == contents(backup)
    assert lost == Lost(records=2, invoices=[], audited=1, keys=["later"])
    kept = restoring.complete()
    assert kept is not None
    assert rows(ledger, ENDS) == rows(backup, ENDS)
    assert (contents(kept).records, contents(kept).keys) == (7, 2)
    assert not (ledger.parent / PART).exists()
    with local_books(ledger.parent)() as database:  # it is written again
        add(database, used("2026-11"))
    assert contents(ledger).records == 6


def test_a_key_that_was_revoked_since_and_an_invoice_are_named(ledger: Path, backup: Path) -> None:
    with closing(connect(ledger)) as connection:
        connection.execute("UPDATE keys SET revoked_at = 1")
        issued = (2026, 7, "a", "2026-10", "NOK", "2026-11-01", "", 1, 0, 1)
        connection.execute(f"INSERT INTO invoices VALUES {issued}")
    _, lost = Restore(backup, ledger.parent).prepare()
    assert (lost.keys, lost.invoices, lost.records) == (["first"], ["2026-7"], 0)


def test_what_was_changed_above_keys_since_is_named(ledger: Path, backup: Path) -> None:
    with local_books(ledger.parent)() as database:
        new_owner(database, "new")
        new_member(database, "ada", "new")
        OwnerStore(database).update("tests", lambda owner: replace(owner, budget=tokens(5)))
        SiteStore(database).update(lambda site: replace(site, budget=tokens(5)))
    _, lost = Restore(backup, ledger.parent).prepare()
    assert lost.keys == ["member ada", "owner new", "owner tests", "the site"]


def test_a_backup_from_before_owners_lacks_none_of_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_sqlite(data / FILE_NAME, "0005", 100)
    shutil.copyfile(data / FILE_NAME, tmp_path / "backup")
    prepared_ledger(data)
    _, lost = Restore(tmp_path / "backup", data).prepare()
    assert not lost


def test_records_that_were_pruned_are_not_counted_as_lost(ledger: Path, backup: Path) -> None:
    with closing(connect(ledger)) as connection:
        connection.execute("DELETE FROM records")
    _, lost = Restore(backup, ledger.parent).prepare()
    assert not lost


def test_an_older_backup_comes_to_the_newest_schema(tmp_path: Path) -> None:
    old = tmp_path / "old"
    schema.migrate(f"sqlite:///{old}", "0002")
    (tmp_path / "data").mkdir()
    restoring = Restore(old, tmp_path / "data")
    restoring.prepare()
    restoring.complete()
    assert rows(tmp_path / "data" / FILE_NAME, "SELECT version_num FROM alembic_version") == [
        (schema.HEAD,)
    ]
    assert rows(old, "SELECT version_num FROM alembic_version") == [("0002",)]  # as it was


def damaged(backup: Path) -> None:
    """A page in the middle is overwritten."""
    size = backup.stat().st_size
    with backup.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


def cut(backup: Path) -> None:
    with backup.open("r+b") as file:
        file.truncate(backup.stat().st_size // 2)


def newer(backup: Path) -> None:
    with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def another_database(backup: Path) -> None:
    backup.unlink()
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("CREATE TABLE t (x)")


def of_another_server(backup: Path) -> None:
    with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value = 'other' WHERE name = 'node_uid'")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (damaged, "is damaged|cannot be read"),
        (cut, "is damaged|cannot be read"),
        (newer, "made by fjord"),
        (another_database, "holds no ledger"),
        (of_another_server, "is of another server"),
        (lambda path: path.write_text("words"), "is not a file of `fjord backup`"),
        (lambda path: path.write_bytes(b""), "is not a file of `fjord backup`"),
        (lambda path: path.unlink(), "cannot be read: No such file"),
    ],
)
def test_what_is_no_backup_is_refused_and_changes_nothing(
    ledger: Path, backup: Path, broken: Any, words: str
) -> None:
    before = rows(ledger, ENDS)
    broken(backup)
    with pytest.raises(LedgerError, match=words):
        Restore(backup, ledger.parent).prepare()
    assert rows(ledger, ENDS) == before
    assert not list(ledger.parent.glob(f"{PART}*"))


def test_a_disk_without_room_is_told_before_anything_is_written(
    ledger: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr("server.ledger.restoring.shutil.disk_usage", lambda _: Full)
    with pytest.raises(LedgerError, match="has 0 MiB free, and the backup needs 16"):
        Restore(backup, ledger.parent).prepare()
    assert not list(ledger.parent.glob(f"{PART}*"))


def test_while_a_command_has_the_ledger_open_it_stays(ledger: Path, backup: Path) -> None:
    restoring = Restore(backup, ledger.parent)
    restoring.prepare()
    with closing(connect(ledger)) as elsewhere:
        elsewhere.execute("BEGIN IMMEDIATE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("server.ledger.restoring.WAIT_S", 0.1)
            with pytest.raises(LedgerInUse, match="Another command has"):
                restoring.complete()
        elsewhere.execute("ROLLBACK")
    assert contents(ledger).records == 5
    restoring.drop()


def test_a_damaged_ledger_gives_no_backup(ledger: Path, tmp_path: Path) -> None:
    with closing(connect(ledger)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    damaged(ledger)
    with pytest.raises((LedgerError, sqlite3.DatabaseError)):
        back_up(ledger, tmp_path / "backup")


def test_a_fresh_ledger_can_be_copied_and_checked(tmp_path: Path) -> None:
    back_up(prepared_ledger(tmp_path / "new"), tmp_path / "backup")
    checked(tmp_path / "backup")
    assert contents(tmp_path / "backup").newest_at is None


def test_a_restore_is_an_entry_of_its_own_and_tells_of_those_it_takes_back(
    ledger: Path, backup: Path
) -> None:
    with local_books(ledger.parent)() as database:
        note(database, "owner.forget", "acme")
        replaced = verified(database)
    restoring = Restore(backup, ledger.parent)
    _, lost = restoring.prepare()
    assert (lost.audited, bool(lost)) == (1, True)
    restoring.complete()
    with local_books(ledger.parent)() as database:
        last = verified(database)
        assert last is not None
        assert replaced is not None
        assert (last.action, json.loads(last.before)) == ("ledger.restore", {"head": replaced.head})
        with pytest.raises(ChainBroken):
            verified(database, replaced.head)
