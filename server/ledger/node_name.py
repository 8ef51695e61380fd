"""What a node's server process is called among those of its site."""

from contextlib import closing
from pathlib import Path

from server.ids import new_id
from server.ledger.database import SqliteDatabase
from server.ledger.meta import remembered


def process_of(path: Path) -> str:
    """The node's own name, by which its next process knows what this one left, a slash, and a word
    of this one's. `path`: its ledger. Blocks."""
    with closing(SqliteDatabase(path)) as database:
        return f"{remembered(database, 'node_uid') or ''}/{new_id(16)}"
