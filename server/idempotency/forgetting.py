"""An owner's kept answers, destroyed by another process than the server."""

from contextlib import closing
from pathlib import Path

from server.idempotency import secret, site_store, store


def forget_owner(data_dir: Path, site: site_store.Transaction | None, owner: str) -> int:
    """How many there were, on a site with those of all nodes. Raises OSError, sqlite3.Error, and
    what `site` does."""
    count = _forget_own(data_dir, owner)
    if site is not None:
        with site() as books:
            count += site_store.forget_answers(books, owner)
    return count


def _forget_own(data_dir: Path, owner: str) -> int:
    if not (data_dir / secret.FILE_NAME).exists():
        return 0
    with closing(store.KeptAnswers(data_dir, 0)) as kept:
        return kept.forget_answers(secret.site_secret(data_dir).owner(owner))
