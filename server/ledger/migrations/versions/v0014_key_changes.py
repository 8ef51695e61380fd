"""What each step of `keys_version` changed, so that who watches keys reads that alone.

A row of key_changes is a key (by its id), a member (by its id), an owner (by its name) or the site.
Those of the last 10,000 versions are kept: who has seen none of them reads everything.
"""

from alembic import op

revision = "0014"
down_revision = "0013"

KEPT = 10_000
IDS = {"keys": "key_id", "owners": "name", "members": "member_id", "site": "id"}
VERBS = {"INSERT": ("new",), "UPDATE": ("old", "new"), "DELETE": ("old",)}
"""And which rows of it are told: an update may be of an id."""

CHANGES = """
CREATE TABLE key_changes (
    version BIGINT NOT NULL,
    level TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (version, level, id)
)
"""
INDEXES = ("CREATE INDEX keys_owner ON keys (owner)",)
VERSION = "(SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'keys_version')"
FORGET = f"DELETE FROM key_changes WHERE version <= {VERSION} - {KEPT}"
NEXT = """UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT)
    WHERE name = 'keys_version'"""


def _of_sqlite(table: str, verb: str) -> tuple[str, str]:
    name = f"{table}_{verb.lower()}"
    ids = " UNION ".join(
        f"SELECT {VERSION}, '{table}', CAST({row}.{IDS[table]} AS TEXT)" for row in VERBS[verb]
    )
    return (
        f"DROP TRIGGER {name}",
        f"""CREATE TRIGGER {name} AFTER {verb} ON {table} BEGIN
            {NEXT};
            INSERT INTO key_changes {ids};
            {FORGET};
        END""",
    )


def _of_postgresql(table: str, verb: str) -> tuple[str, str]:
    rows, name = VERBS[verb], f"{table}_{verb.lower()}"
    tables = " ".join(f"{row.upper()} TABLE AS {row}_rows" for row in rows)
    ids = " UNION ".join(f"SELECT {IDS[table]}::text FROM {row}_rows" for row in rows)
    return (
        f"""
        CREATE FUNCTION fjord_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            {NEXT};
            INSERT INTO key_changes SELECT {VERSION}, '{table}', id FROM ({ids}) AS changed (id);
            {FORGET};
            RETURN NULL;
        END $$
        """,
        f"""
        CREATE TRIGGER {name} AFTER {verb} ON {table} REFERENCING {tables}
        FOR EACH STATEMENT EXECUTE FUNCTION fjord_{name}()
        """,
    )


def upgrade() -> None:
    is_sqlite = op.get_context().dialect.name == "sqlite"
    for statement in (CHANGES, *INDEXES):
        op.execute(statement)
    for table in IDS:
        if not is_sqlite:
            op.execute(f"DROP TRIGGER {table}_changed ON {table}")
        for verb in VERBS:
            for statement in (_of_sqlite if is_sqlite else _of_postgresql)(table, verb):
                op.execute(statement)
    if not is_sqlite:
        op.execute("DROP FUNCTION fjord_keys_changed()")
