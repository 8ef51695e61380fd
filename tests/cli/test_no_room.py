"""Commands on a disk that has no room: one line, and nothing is half done."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.ledger import sqlite
from tests.support.command import fjord_here
from tests.support.invoicing import REGISTRY, add, local_books, used
from tests.support.serve_process import FJORD, environment, fjord
from tests.support.serving import make_key

pytestmark = pytest.mark.slow  # processes of their own

MONTH = ["--month", "2020-10", "--registry", "seller.yaml", "--out", "out"]
COMMANDS = {
    "create": ["keys", "create", "--name", "new"],
    "update": ["keys", "update", "test", "--concurrent", "3"],
    "rotate": ["keys", "rotate", "test"],
    "revoke": ["keys", "revoke", "test", "--yes"],
    "prune": ["prune", "--before", "2021-01-01", "--yes"],
    "issue": ["invoice", "--issue", *MONTH],
    "ship": ["ship", "--retry"],
}


def short_files() -> None:
    """In the child: none of its files may grow, neither by a page of the ledger nor to a PDF. It
    writes no bytecode: Python 3.11 would leave the beginnings of some."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A ledger of two owners and a key, open elsewhere, so that its files are there already."""
    (tmp_path / "seller.yaml").write_text(REGISTRY, encoding="utf-8")
    data_dir = tmp_path / "data"
    make_key(data_dir)
    with local_books(data_dir)() as database:
        add(database, used("2020-10", owner="a"), used("2020-10", owner="b"))
        database.execute("INSERT INTO set_aside (seq, reason) VALUES (1, 'r')")
    with closing(sqlite.connect(data_dir / sqlite.FILE_NAME)) as elsewhere:
        elsewhere.execute("SELECT * FROM keys").fetchall()
        yield tmp_path


def run(home: Path, *command: str, has_room: bool) -> subprocess.CompletedProcess[str]:
    if has_room:
        return fjord_here(home, *command)
    return subprocess.run(
        [*FJORD, *command],
        cwd=home,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=short_files,
    )


def contents(home: Path) -> list[str]:
    with closing(sqlite.connect(home / "data" / sqlite.FILE_NAME)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_ledger_that_cannot_grow_is_one_line_and_stays_as_it_was(
    home: Path, command: list[str]
) -> None:
    before = contents(home)
    ended = run(home, *command, has_room=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line == "fjord: The ledger cannot be used: disk I/O error. Nothing was changed."
    assert contents(home) == before
    again = run(home, *command, has_room=True)
    assert again.returncode == 0, again.stderr
    assert contents(home) != before


def test_no_number_is_skipped_by_what_was_not_issued(home: Path) -> None:
    assert run(home, *COMMANDS["issue"], has_room=False).returncode == 2
    assert not (home / "out").exists()
    assert run(home, *COMMANDS["issue"], has_room=True).returncode == 0
    numbers = [path.stem.split("-")[2] for path in sorted((home / "out").iterdir())]
    assert numbers == ["0001", "0002"]


def test_a_file_that_cannot_be_written_is_one_line_and_not_there(home: Path) -> None:
    assert run(home, *COMMANDS["issue"], has_room=True).returncode == 0
    whole = sorted((home / "out").iterdir())[0].read_bytes()
    ended = run(home, "invoice", *MONTH[:-1], "other", has_room=False)
    assert ended.returncode == 2, ended.stdout
    (line,) = ended.stderr.splitlines()
    assert line.startswith("fjord: other/invoice-")
    assert line.endswith(".pdf cannot be written: File too large. Make room and try again.")
    assert list((home / "other").iterdir()) == []
    assert run(home, "invoice", *MONTH[:-1], "other", has_room=True).returncode == 0
    assert sorted((home / "other").iterdir())[0].read_bytes() == whole


def test_an_output_that_cannot_be_written_is_one_line(home: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*FJORD, "usage", "--month", "2020-10", "--csv"],
            cwd=home,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 2
    assert ended.stderr == (
        "fjord: the output cannot be written: No space left on device. Make room and try again.\n"
    )


def test_a_first_key_that_cannot_be_kept_is_none(home: Path, tmp_path: Path) -> None:
    """The next start makes one, as if the first had not been."""
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    model = "{engine: scripted, source: x, context: 1K, output: 1K}"
    (other / "model_registry.yaml").write_text(f"models: {{a: {model}}}\n")
    sqlite.prepared_ledger(other / "data")
    (other / "data" / "first_key").mkdir()
    ended = fjord(other, "prepare")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("fjord: data/first_key cannot be written: ")
    (other / "data" / "first_key").rmdir()
    again = fjord(other, "prepare")
    assert again.returncode == 0, again.stderr
    assert (other / "data" / "first_key").read_text().startswith("wayscloud_")
