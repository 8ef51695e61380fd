"""An owner's kept answers, destroyed by another process than the server."""

from contextlib import closing
from pathlib import Path

from server.idempotency import secret, store


def forget_owner(data_dir: Path, owner: str) -> int:
    """How many there were. Raises OSError, sqlite3.Error."""
    if not (data_dir / secret.FILE_NAME).exists():
        return 0
    with closing(store.KeptAnswers(data_dir, 0)) as kept:
        return kept.forget_answers(secret.site_secret(data_dir).name_of(owner))
