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
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT INTO alembic_version VALUES ('0002');
