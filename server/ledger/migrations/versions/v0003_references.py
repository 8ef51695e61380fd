"""References between a node's rows, records set aside, and how far a site has each node's records.

A record whose kind or word is missing (an id that a rolled-back transaction had inserted) was left
out of every report: it gets one that says `(lost N)`, and is shipped once more. Ids need no
AUTOINCREMENT but `seq`: kinds and words are never deleted.

No record is written again, so that ten million of them take seconds: a reference changes nothing of
how rows are stored, and is written into the table's own statement (sqlite.org/lang_altertable.html,
"Making Other Kinds Of Table Schema Changes", the simpler procedure).
"""

from alembic import op

revision = "0003"
down_revision = "0002"

LOST = (
    "CREATE TEMP TABLE lost_kinds (id INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE lost_words (id INTEGER PRIMARY KEY)",
    # every record's kind and agent are in the daily sums, which are a hundredth as many
    """
    INSERT INTO lost_kinds
    SELECT DISTINCT kind FROM daily WHERE kind NOT IN (SELECT id FROM kinds)
    """,
    """
    INSERT INTO lost_words
    SELECT DISTINCT agent FROM daily WHERE agent NOT IN (SELECT id FROM words)
    """,
    """
    INSERT OR IGNORE INTO lost_words
    SELECT user FROM records WHERE user != 0 AND user NOT IN (SELECT id FROM words)
    """,
)
IS_LOST = """
kind IN (SELECT id FROM lost_kinds)
OR agent IN (SELECT id FROM lost_words)
OR user IN (SELECT id FROM lost_words)
"""
REFERENCES = (("kind", "kinds"), ("agent", "words"), ("user", "words"))

SQLITE = (
    """
    CREATE TABLE set_aside (
        seq INTEGER PRIMARY KEY,
        reason TEXT NOT NULL,
        is_due INTEGER NOT NULL DEFAULT 0
    )
    """,
    *LOST,
    f"""
    INSERT INTO set_aside (seq, reason, is_due)
    SELECT seq, 'its words were lost', 1 FROM records
    WHERE (EXISTS (SELECT 1 FROM lost_kinds) OR EXISTS (SELECT 1 FROM lost_words))
    AND seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'shipped_seq')
    AND ({IS_LOST})
    """,
    "INSERT INTO words (id, word) SELECT id, '(lost ' || id || ')' FROM lost_words",
    """
    INSERT INTO kinds
    SELECT id, '(lost)', '(lost)', '(lost)', '', NULL, '', 0, 'failed', NULL, NULL, 0, 0, 0,
        '(lost)', ''
    FROM lost_kinds
    """,
    "DROP TABLE lost_kinds",
    "DROP TABLE lost_words",
    "PRAGMA writable_schema = ON",
    *(
        f"""
        UPDATE sqlite_master SET sql = replace(
            sql, '{column} INTEGER NOT NULL,', '{column} INTEGER NOT NULL REFERENCES {table} (id),'
        ) WHERE type = 'table' AND name IN ('records', 'daily')
        """
        for column, table in REFERENCES
    ),
    "PRAGMA writable_schema = RESET",
)

POSTGRESQL = (
    """
    CREATE TABLE shipments (
        node_uid TEXT PRIMARY KEY,
        seq BIGINT NOT NULL,
        record_id TEXT NOT NULL
    )
    """,
)


def upgrade() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for statement in SQLITE if is_sqlite else POSTGRESQL:
        op.execute(statement)
    if is_sqlite:
        tell_others()


def tell_others() -> None:
    """Whoever has the file open reads the changed statements, too."""
    [version] = op.get_bind().exec_driver_sql("PRAGMA schema_version").one()
    op.execute(f"PRAGMA schema_version = {version + 1}")
