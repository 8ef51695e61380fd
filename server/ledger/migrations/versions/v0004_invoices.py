"""Issued invoices, with their lines and sums; the database itself refuses to change one.

`invoiced_from`: what was used before the month in which a ledger with records comes to this step
was billed otherwise; it goes onto no later invoice unless its own month was issued.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = (
    """
    CREATE TABLE invoices (
        year BIGINT NOT NULL,
        serial BIGINT NOT NULL,
        owner TEXT NOT NULL,
        month TEXT NOT NULL,
        currency TEXT NOT NULL,
        issued_on TEXT NOT NULL,
        seller TEXT NOT NULL,
        net BIGINT NOT NULL,
        vat BIGINT NOT NULL,
        to_pay BIGINT NOT NULL,
        PRIMARY KEY (year, serial),
        UNIQUE (owner, month, currency)
    )
    """,
    """
    CREATE TABLE invoice_lines (
        year BIGINT NOT NULL,
        serial BIGINT NOT NULL,
        line BIGINT NOT NULL,
        used_in TEXT NOT NULL,
        alias TEXT NOT NULL,
        price_input BIGINT NOT NULL,
        price_cached BIGINT NOT NULL,
        price_output BIGINT NOT NULL,
        requests BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cached_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        reasoning_tokens BIGINT NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (year, serial, line),
        FOREIGN KEY (year, serial) REFERENCES invoices (year, serial)
    )
    """,
)

SQLITE = (
    """
    INSERT INTO meta (name, value)
    SELECT 'invoiced_from', strftime('%Y-%m', 'now') WHERE EXISTS (SELECT 1 FROM daily)
    """,
    *(
        f"""
        CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table} BEGIN
            SELECT RAISE(ABORT, 'an issued invoice never changes');
        END
        """
        for table in ("invoices", "invoice_lines")
        for verb in ("UPDATE", "DELETE")
    ),
)

POSTGRESQL = (
    """
    INSERT INTO meta (name, value)
    SELECT 'invoiced_from', to_char(now() AT TIME ZONE 'utc', 'YYYY-MM')
    WHERE EXISTS (SELECT 1 FROM usage_daily)
    """,
    """
    CREATE FUNCTION fjord_invoice_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'an issued invoice never changes';
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION fjord_invoice_changed()
        """
        for table in ("invoices", "invoice_lines")
    ),
)


def upgrade() -> None:
    steps = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    for statement in (*TABLES, *steps):
        op.execute(statement)
