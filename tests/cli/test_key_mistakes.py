"""What is said wrongly of a key is one line that says what would be right."""

from pathlib import Path

import pytest

from server.ledger.sqlite import prepared_ledger
from tests.support.key_commands import refused


@pytest.fixture(autouse=True)
def ledger_file(tmp_path: Path) -> Path:
    """Commands find a ledger; none of them makes one."""
    return prepared_ledger(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "nobody0000"], "No key has the name or id 'nobody0000'"),
        (["create", "--name", "n", "--budget", "5/month"], "'500 NOK/month'"),
        (["create", "--name", "n", "--budget", "x NOK/month"], "budget.amount"),
        (["create", "--name", "n", "--budget", "0.0000001 NOK/month"], "6 decimal places"),
        (["create", "--name", "n", "--budget", "1.5 tokens/day"], "whole number"),
        (["create", "--name", "n", "--currency", "GBP"], "'NOK', 'USD', 'EUR', 'SEK' or 'DKK'"),
        (["create", "--name", "n", "--expires", "9999-12-31"], "is not a date"),
        (["create", "--name", "n", "--expires", "9999-12-31T12:00-12:00"], "1970 and 9998"),
        (["create", "--name", "n", "--expires", "0001-01-01T00:00+12:00"], "1970 and 9998"),
        (["create", "--name", "n", "--expires", "soon"], "2027-01-31"),
        (["create", "--name", "n", "--expires", "2020-01-31"], "over: such a key would never work"),
        (["create", "--name", "n", "--expires", "0d"], "over: such a key would never work"),
        (["create", "--name", "n", "--expires", "2020-01-31"], "got 2020-02-01 00:00 UTC."),
        (["create", "--name", "n", "--expires", "29991231"], "'29991231' is not a date"),
        (["create", "--name", "n", "--expires", "2999-W01-1"], "'2999-W01-1' is not a date"),
        (["create", "--name", "n", "--expires", "9" * 3000], f"'{'9' * 56}… is not a date"),
        (["create", "--name", "n", "--budget", "9" * 3000], f"'{'9' * 56}… is not understood"),
        (["create", "--name", "n" * 201], "name: it is longer than 200; got 'nnn"),
        (["create", "--name", "n", "--models", "a," * 1001], "models: it is longer than 1000"),
        (["create", "--name", "n", "--budget", "1e-7 NOK/day"], "more than 6 decimal places"),
        (["rotate", "x", "--grace", "inf"], "from 0 to 8784"),
        (["rotate", "x", "--grace", "nan"], "from 0 to 8784"),
        (["rotate", "x", "--grace", "-1"], "from 0 to 8784"),
        (["create", "--name", "n", "--concurrent", "0"], "the least is 1"),
        (["create", "--name", ""], "name"),
        (["update", "x", "--unset", "secret_hash"], "is none of"),
    ],
)
def test_what_does_not_fit_is_one_line_that_says_what_would(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    text = refused(tmp_path, *arguments)
    assert says in text
    assert text.count("\n") == 1
