CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    secret_hash BYTEA NOT NULL UNIQUE,
    previous_hash BYTEA,
    previous_until DOUBLE PRECISION,
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION
);
CREATE TABLE key_use (key_id TEXT PRIMARY KEY, last_used_at DOUBLE PRECISION NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO meta (name, value) VALUES ('keys_version', '1');
CREATE FUNCTION fjord_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE meta SET value = (value::bigint + 1)::text WHERE name = 'keys_version';
    RETURN NULL;
END $$;
CREATE TRIGGER keys_changed AFTER INSERT OR UPDATE OR DELETE ON keys
FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed();
CREATE TABLE usage_records (
    record_id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    alias TEXT NOT NULL,
    weights TEXT NOT NULL,
    revision TEXT,
    endpoint TEXT NOT NULL,
    stream INTEGER NOT NULL,
    "end" TEXT NOT NULL,
    finish_reason TEXT,
    agent_id TEXT,
    "user" TEXT,
    region TEXT,
    started_us BIGINT NOT NULL,
    ttft_us BIGINT,
    duration_us BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    price_input BIGINT NOT NULL,
    price_cached BIGINT NOT NULL,
    price_output BIGINT NOT NULL,
    currency TEXT NOT NULL,
    amount BIGINT NOT NULL,
    node TEXT NOT NULL,
    node_uid TEXT NOT NULL
);
CREATE INDEX usage_records_started ON usage_records (started_us);
CREATE TABLE usage_daily (
    day BIGINT NOT NULL,
    node_uid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    alias TEXT NOT NULL,
    region TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    currency TEXT NOT NULL,
    price_input BIGINT NOT NULL,
    price_cached BIGINT NOT NULL,
    price_output BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY (
        key_id, day, node_uid, owner, alias, region, agent_id, currency,
        price_input, price_cached, price_output
    )
);
CREATE INDEX usage_daily_day ON usage_daily (day);
CREATE TABLE reservations (
    node_uid TEXT NOT NULL,
    key_id TEXT NOT NULL,
    unit TEXT NOT NULL,
    reserved BIGINT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (node_uid, key_id)
);
CREATE TABLE shipments (
    node_uid TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    record_id TEXT NOT NULL
);
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
);
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
);
INSERT INTO meta (name, value)
SELECT 'invoiced_from', to_char(now() AT TIME ZONE 'utc', 'YYYY-MM')
WHERE EXISTS (SELECT 1 FROM usage_daily);
CREATE FUNCTION fjord_invoice_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an issued invoice never changes';
END $$;
CREATE TRIGGER invoices_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON invoices
FOR EACH STATEMENT EXECUTE FUNCTION fjord_invoice_changed();
CREATE TRIGGER invoice_lines_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_lines
FOR EACH STATEMENT EXECUTE FUNCTION fjord_invoice_changed();
CREATE TABLE memory_check (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
CREATE TABLE memory_owners (
    owner TEXT PRIMARY KEY,
    data_key BYTEA NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE TABLE memory_responses (
    response_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    previous_id TEXT,
    conversation_id TEXT,
    is_background BIGINT NOT NULL,
    status TEXT NOT NULL,
    depth BIGINT NOT NULL,
    context_bytes BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    node TEXT NOT NULL,
    beat_at BIGINT NOT NULL,
    cancel_asked BIGINT NOT NULL,
    head BYTEA NOT NULL,
    turn BYTEA NOT NULL
);
CREATE INDEX memory_responses_owner ON memory_responses (owner);
CREATE INDEX memory_responses_expiry ON memory_responses (expires_at);
CREATE INDEX memory_responses_open ON memory_responses (owner)
WHERE status IN ('queued', 'in_progress');
CREATE TABLE memory_events (
    response_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    first_number BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (response_id, part)
);
CREATE TABLE memory_items_of (
    owner TEXT NOT NULL,
    item_id TEXT NOT NULL,
    response_id TEXT NOT NULL,
    PRIMARY KEY (owner, item_id)
);
CREATE INDEX memory_items_of_response ON memory_items_of (response_id);
CREATE TABLE memory_conversations (
    conversation_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    next_seq BIGINT NOT NULL,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    context_bytes BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);
CREATE INDEX memory_conversations_owner ON memory_conversations (owner);
CREATE INDEX memory_conversations_expiry ON memory_conversations (expires_at);
CREATE TABLE memory_conversation_items (
    conversation_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    item_id TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    plain_bytes BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (conversation_id, seq),
    UNIQUE (conversation_id, item_id)
);
CREATE TABLE owners (
    owner_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    weight BIGINT NOT NULL DEFAULT 1,
    created_at DOUBLE PRECISION NOT NULL,
    archived_at DOUBLE PRECISION,
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    price_factor BIGINT
);
CREATE TABLE members (
    member_id TEXT PRIMARY KEY,
    owner TEXT,
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    disabled_at DOUBLE PRECISION,
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    price_factor BIGINT
);
CREATE UNIQUE INDEX members_names ON members (coalesce(owner, ''), name);
CREATE TABLE site (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    price_factor BIGINT
);
INSERT INTO site (id) VALUES (1);
ALTER TABLE keys ADD COLUMN member_id TEXT;
ALTER TABLE keys ADD COLUMN price_factor BIGINT;
CREATE INDEX keys_member ON keys (member_id);
CREATE INDEX usage_daily_owner ON usage_daily (owner, day);
CREATE TRIGGER owners_changed AFTER INSERT OR UPDATE OR DELETE ON owners
FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed();
CREATE TRIGGER members_changed AFTER INSERT OR UPDATE OR DELETE ON members
FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed();
CREATE TRIGGER site_changed AFTER INSERT OR UPDATE OR DELETE ON site
FOR EACH STATEMENT EXECUTE FUNCTION fjord_keys_changed();
CREATE TABLE idempotency_entries (
        entry_id BYTEA PRIMARY KEY,
        owner TEXT NOT NULL,
        print BYTEA NOT NULL,
        record_id TEXT NOT NULL,
        began DOUBLE PRECISION NOT NULL,
        node TEXT NOT NULL,
        beat_at TIMESTAMPTZ NOT NULL,
        is_over BOOLEAN NOT NULL,
        bytes BIGINT NOT NULL,
        answer BYTEA
    );
CREATE INDEX idempotency_entries_began ON idempotency_entries (began);
CREATE INDEX idempotency_entries_owner ON idempotency_entries (owner);
CREATE TABLE idempotency_owners (
        owner TEXT PRIMARY KEY,
        keys BIGINT NOT NULL,
        bytes BIGINT NOT NULL
    );
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0007');
