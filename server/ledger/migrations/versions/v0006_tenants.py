"""The tenant tree: the site, owners and their members above keys, each with an allowance.

Every owner that keys or records name becomes one. Keys and records go on naming it, so nothing of
them is written again. `keys_version` moves with all four: whoever watches keys sees the tree. What
a level has spent is read by two new indexes: at midnight that of each budget is.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

ALLOWANCE = """models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    price_factor BIGINT"""
OWNERS = f"""
CREATE TABLE owners (
    owner_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    weight BIGINT NOT NULL DEFAULT 1,
    created_at {{real}} NOT NULL,
    archived_at {{real}},
    {ALLOWANCE}
)
"""
MEMBERS = f"""
CREATE TABLE members (
    member_id TEXT PRIMARY KEY,
    owner TEXT,
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    created_at {{real}} NOT NULL,
    disabled_at {{real}},
    {ALLOWANCE}
)
"""
MEMBERS_NAMES = "CREATE UNIQUE INDEX members_names ON members (coalesce(owner, ''), name)"
SITE = f"""
CREATE TABLE site (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    {ALLOWANCE}
)
"""
THE_SITE = "INSERT INTO site (id) VALUES (1)"
KEYS = (
    "ALTER TABLE keys ADD COLUMN member_id TEXT",
    "ALTER TABLE keys ADD COLUMN price_factor BIGINT",
    "CREATE INDEX keys_member ON keys (member_id)",
)
TABLES = ("owners", "members", "site")

SQLITE = (
    OWNERS.format(real="REAL"),
    MEMBERS.format(real="REAL"),
    MEMBERS_NAMES,
    SITE,
    THE_SITE,
    *KEYS,
    "CREATE INDEX kinds_owner ON kinds (owner)",
    "CREATE INDEX daily_kind ON daily (kind, day)",
    """
    INSERT INTO owners (owner_id, name, created_at)
    SELECT substr(lower(hex(randomblob(5))), 1, 10), owner, coalesce(min(since), 0)
    FROM (
        SELECT owner, created_at AS since FROM keys
        UNION ALL SELECT owner, NULL FROM kinds WHERE owner != '(lost)'
    )
    GROUP BY owner
    """,
    *(
        f"""CREATE TRIGGER {table}_{verb.lower()} AFTER {verb} ON {table} BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END"""
        for table in TABLES
        for verb in ("INSERT", "UPDATE", "DELETE")
    ),
)

POSTGRESQL = (
    OWNERS.format(real="DOUBLE PRECISION"),
    MEMBERS.format(real="DOUBLE PRECISION"),
    MEMBERS_NAMES,
    SITE,
    THE_SITE,
    *KEYS,
    "CREATE INDEX usage_daily_owner ON usage_daily (owner, day)",
    """
    INSERT INTO owners (owner_id, name, created_at)
    SELECT left(md5(random()::text || owner), 10), owner, coalesce(min(since), 0)
    FROM (
        SELECT owner, created_at AS since FROM keys
        UNION ALL SELECT DISTINCT owner, NULL::double precision FROM usage_daily
        WHERE owner <> '(lost)'
    ) AS found
    GROUP BY owner
    """,
    *(
        f"""
        CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed()
        """
        for table in TABLES
    ),
)


def upgrade() -> None:
    for statement in SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL:
        op.execute(statement)
