"""`fjord invoice`: drafts are marked, an issued invoice is printed the same for ever."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli import invoice as invoice_cli
from tests.support.invoicing import REGISTRY, add, local_books, used

OWNER = "Ødegård & Sønn <AS>"


@pytest.fixture
def where(tmp_path: Path) -> list[str]:
    """The flags of a ledger with two owners' use in October 2020, and of a registry."""
    registry = tmp_path / "model_registry.yaml"
    registry.write_text(REGISTRY, encoding="utf-8")
    with local_books(tmp_path)() as database:
        add(
            database,
            used("2020-10", owner=OWNER, tokens=12_345_678),
            used("2020-10", owner="acme", tokens=1_000_000),
        )
    return ["--data-dir", str(tmp_path), "--registry", str(registry), "--month", "2020-10"]


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(invoice_cli.app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def forms(where: list[str], out: Path) -> list[Any]:
    """Everything that is printed or written of the month, apart from the folder's name."""
    text = run(*where, "--out", str(out)).replace(str(out), "")
    files = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
    return [text, run(*where, "--json"), run(*where, "--csv"), files]


def test_a_draft_says_so_and_has_no_number(where: list[str], tmp_path: Path) -> None:
    text, as_json, as_csv, files = forms(where, tmp_path / "out")
    assert "Draft, not an invoice" in text
    assert "Invoice 20" not in text
    assert {one["number"] for one in json.loads(as_json)} == {None}
    assert {row["number"] for row in csv.DictReader(io.StringIO(as_csv))} == {"draft"}
    assert all(name.startswith("draft-") for name in files)
    assert all(file.startswith(b"%PDF-") for file in files.values())


def test_each_draft_has_its_own_file_whatever_its_owner_is_called(tmp_path: Path) -> None:
    owners = ["a/b", "a_b", "a:b", "..", "語" * 200, "語" * 199 + "言"]
    with local_books(tmp_path)() as database:
        add(database, *(used("2020-10", owner=owner) for owner in owners))
    out = tmp_path / "out"
    where = ["--data-dir", str(tmp_path), "--month", "2020-10"]
    run(*where, "--out", str(out))
    assert len(list(out.iterdir())) == len(owners)
    assert (out / "draft-a_b-2020-10-NOK.pdf").exists()


def test_an_issued_invoice_is_the_same_bytes_for_ever(where: list[str], tmp_path: Path) -> None:
    run(*where, "--issue", "--out", str(tmp_path / "at-issue"))
    before = forms(where, tmp_path / "one")
    with local_books(tmp_path)() as database:
        add(database, used("2020-10", owner=OWNER, tokens=99))
    Path(where[3]).write_text(REGISTRY.replace("25", "15").replace("Drift", "Ny"))
    run(*where, "--issue", "--out", str(tmp_path / "again"))
    assert forms(where, tmp_path / "two") == before
    assert len(before[3]) == 2
    assert all(name.startswith("invoice-20") for name in before[3])


def test_what_is_printed_of_an_invoice(where: list[str], tmp_path: Path) -> None:
    text = run(*where, "--owner", OWNER, "--issue", "--out", str(tmp_path / "out"))
    for line in (
        "Fjord Drift AS",
        "NO 999 999 999 MVA",
        OWNER,
        "2020-10-01 to 2020-10-31 (UTC)",
        "12.345678 NOK",  # net
        "3.086420 NOK",  # 25 % of it is 3.0864195: half up
        "15.432098 NOK",
        "15.43 NOK",
    ):
        assert line in text
    assert "VAT 25 %" in text
    (one,) = json.loads(run(*where, "--owner", OWNER, "--json"))
    assert (one["net"], one["vat"], one["total"], one["to_pay"]) == (
        "12.345678",
        "3.086420",
        "15.432098",
        "15.43",
    )


def test_late_lines_are_named(where: list[str], tmp_path: Path) -> None:
    run(*where, "--issue", "--out", str(tmp_path / "out"))
    with local_books(tmp_path)() as database:
        add(database, used("2020-10", owner="acme", tokens=99))
    where[-1] = "2020-11"
    text = run(*where, "--issue", "--out", str(tmp_path / "out"))
    assert "kimi-k2 (late, of 2020-10)" in text
    assert OWNER not in text


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--owner", "nobody"], "nothing to invoice nobody for in 2020-10"),
        (["--month", "2999-10", "--issue", "--owner", "acme"], "is not over"),
        (["--registry", "no-such.yaml"], "no-such.yaml"),
        (["--out", "/dev/null/x"], "cannot be written"),
    ],
)
def test_what_does_not_fit_is_one_line(where: list[str], flags: list[str], says: str) -> None:
    text = run(*where, *flags, code=2)
    assert says in text
    assert text.count("\n") == 1


def test_nothing_is_issued_without_a_seller(where: list[str]) -> None:
    Path(where[3]).write_text("models: {}\n")
    assert "seller" in run(*where, "--issue", code=2)
