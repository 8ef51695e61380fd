"""An owner's kept answers, destroyed by another process than the server."""

from contextlib import closing
from pathlib import Path

from server.idempotency import secret, site_store, store
from server.ledger import open_books


def forget_owner(data_dir: Path, ledger_url: str | None, owner: str) -> int:
    """How many there were, on a site with all its nodes share. Raises OSError, sqlite3.Error, and
    what the site's database does."""
    count = _forget_own(data_dir, owner)
    if ledger_url is not None:
        pool = open_books.site_pool(ledger_url)
        with closing(pool), closing(pool.open_books()) as books, books.transaction():
            count += site_store.forget_answers(books, owner)
    return count


def _forget_own(data_dir: Path, owner: str) -> int:
    if not (data_dir / secret.FILE_NAME).exists():
        return 0
    with closing(store.KeptAnswers(data_dir, 0)) as kept:
        return kept.forget_answers(secret.site_secret(data_dir).owner(owner))
