"""The site's URL holds a password: it is understood at the start, and never shown."""

import pytest

from server.ledger import postgres
from server.ledger.errors import LedgerError, LedgerUnavailable
from server.ledger.ledger import Ledger

SECRET = "s3cret-word"


@pytest.mark.parametrize(
    "url",
    [
        f"postgres//fjord:{SECRET}@127.0.0.1/x",
        f"postgresql://fjord:{SECRET}@more@127.0.0.1/x",
        f"postgresql://fjord:12@{SECRET}@127.0.0.1/x",
        f"postgresql://fjord:12/{SECRET}@127.0.0.1/x",
        f"postgresql://fjord:{SECRET}/12@127.0.0.1/x",
        f"postgresql://fjord:{SECRET}%zz@127.0.0.1/x",
        f"host=127.0.0.1 password={SECRET}",
        f"sqlite:///{SECRET}",
        SECRET,
        "",
    ],
)
def test_a_url_that_is_not_understood_stops_the_start_and_is_not_repeated(
    tmp_path: object, url: str
) -> None:
    with pytest.raises(LedgerError, match="postgresql://USER:PASSWORD@HOST") as refused:
        Ledger.open(tmp_path, node="n", ledger_url=url)  # type: ignore[arg-type]
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://fjord:{SECRET}@127.0.0.1:1/x",
        f"postgresql://fjord:a%40{SECRET}@127.0.0.1:1/{SECRET}",
    ],
)
def test_a_database_that_cannot_be_reached_is_said_without_the_password(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be reached") as refused:
        postgres.connect(url)
    assert f"a@{SECRET}" not in str(refused.value)
    assert SECRET not in str(refused.value)
