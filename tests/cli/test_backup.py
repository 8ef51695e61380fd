"""`fjord backup` and `fjord restore` as an operator uses them."""

from pathlib import Path

import pytest

from server.ledger.serving_lock import ServingLock
from server.ledger.sqlite import FILE_NAME
from tests.support.command import fjord_here
from tests.support.invoicing import add, local_books, used
from tests.support.serve_process import ask, fjord, serving, with_registry
from tests.support.serving import make_key, read_records, wait_until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_key(tmp_path / "data", name="first")
    with local_books(tmp_path / "data")() as database:
        add(database, used("2026-10"), used("2026-10"))
    return tmp_path


def test_it_says_what_the_copy_holds_and_replaces_an_older_one(home: Path) -> None:
    (home / "copies").mkdir()
    (home / "copies" / "ledger").write_text("an older one")
    done = fjord_here(home, "backup", "copies/ledger")
    assert done.returncode == 0, done.stderr
    said = "copies/ledger holds 2 records, 1 key and 0 invoices, the newest of 2026-10-15 00:00:00"
    assert done.stdout.startswith(f"{said} UTC: 0.")
    assert [path.name for path in (home / "copies").iterdir()] == ["ledger"]


def test_a_backup_that_fails_leaves_the_older_one(home: Path) -> None:
    (home / "old").write_text("an older one")
    (home / "data" / FILE_NAME).write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    done = fjord_here(home, "backup", "old")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fjord: The ledger")
    assert (home / "old").read_text() == "an older one"


def test_where_the_present_ledger_has_more_it_asks_or_wants_yes(home: Path) -> None:
    fjord_here(home, "backup", "copy")
    with local_books(home / "data")() as database:
        add(database, used("2026-11"))
    make_key(home / "data", name="later")

    shown = fjord_here(home, "restore", "copy", "--check")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[1:] == [
        "It lacks 1 of the present records.",
        "Of the present audit log it lacks entries: 1.",
        "Keys made, changed or revoked since are as they were then: later.",
    ]
    refused = fjord_here(home, "restore", "copy")
    assert refused.returncode == 2
    assert "at no terminal say --yes" in refused.stderr
    assert len(read_records(home / "data")) == 3

    done = fjord_here(home, "restore", "copy", "--yes")
    assert done.returncode == 0, done.stderr
    assert "What was there lies in data/ledger-before-restore-" in done.stdout
    assert len(read_records(home / "data")) == 2
    assert "later" not in fjord_here(home, "keys", "list").stdout


def test_nothing_is_restored_under_a_running_server(home: Path) -> None:
    fjord_here(home, "backup", "copy")
    lock = ServingLock(home / "data")
    lock.take()
    try:
        done = fjord_here(home, "restore", "copy", "--yes")
    finally:
        lock.release()
    assert done.returncode == 2
    assert "is in use by another fjord server" in done.stderr


def test_without_a_ledger_there_is_nothing_to_copy(tmp_path: Path) -> None:
    done = fjord_here(tmp_path, "backup", "copy")
    assert done.returncode == 2
    assert "There is no ledger in" in done.stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.slow
def test_a_backup_of_a_running_server_serves_elsewhere(tmp_path: Path) -> None:
    """With its keys and its records, to the token."""
    (tmp_path / "a").mkdir()
    home = with_registry(tmp_path / "a")
    with serving(home) as server:
        server.until("Ready")
        url, key = f"http://127.0.0.1:{server.port}", server.key()
        for _ in range(5):
            assert ask(url, key, max_tokens=7).status_code == 200
        wait_until(lambda: len(read_records(home / "data")) == 5, "five records")
        done = fjord(home, "backup", str(tmp_path / "copy"))
        assert done.returncode == 0, done.stderr
        records = read_records(home / "data")
    (tmp_path / "b").mkdir()
    elsewhere = with_registry(tmp_path / "b")
    done = fjord(elsewhere, "restore", str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert read_records(elsewhere / "data") == records
    with serving(elsewhere) as server:
        server.until("Ready")
        assert ask(f"http://127.0.0.1:{server.port}", key).status_code == 200
