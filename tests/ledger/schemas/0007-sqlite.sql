CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE "daily" (
        day INTEGER NOT NULL,
        kind INTEGER NOT NULL REFERENCES kinds (id),
        agent INTEGER NOT NULL REFERENCES words (id),
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (day, kind, agent)
    ) WITHOUT ROWID
    ;
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
CREATE TABLE key_use (key_id TEXT PRIMARY KEY, last_used_at REAL NOT NULL);
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    service TEXT NOT NULL,
    secret_hash BLOB NOT NULL UNIQUE,
    previous_hash BLOB,
    previous_until REAL,
    models TEXT,
    requests_per_minute BIGINT,
    burst BIGINT,
    concurrent BIGINT,
    tokens_per_minute BIGINT,
    budget_kind TEXT,
    budget_amount BIGINT,
    budget_period TEXT,
    currency TEXT,
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
, member_id TEXT, price_factor BIGINT);
CREATE TABLE kinds (
        id INTEGER PRIMARY KEY,
        key_id TEXT NOT NULL,
        owner TEXT NOT NULL,
        alias TEXT NOT NULL,
        weights TEXT NOT NULL,
        revision TEXT,
        endpoint TEXT NOT NULL,
        stream INTEGER NOT NULL,
        "end" TEXT NOT NULL,
        finish_reason TEXT,
        region TEXT,
        price_input INTEGER NOT NULL,
        price_cached INTEGER NOT NULL,
        price_output INTEGER NOT NULL,
        currency TEXT NOT NULL,
        node TEXT NOT NULL
    );
CREATE TABLE members (
    member_id TEXT PRIMARY KEY,
    owner TEXT,
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    created_at REAL NOT NULL,
    disabled_at REAL,
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
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "meta" VALUES('keys_version','1');
INSERT INTO "meta" VALUES('node_uid','0123456789abcdef');
INSERT INTO "meta" VALUES('shipped_seq','0');
CREATE TABLE open_requests (record_id TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE owners (
    owner_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    weight BIGINT NOT NULL DEFAULT 1,
    created_at REAL NOT NULL,
    archived_at REAL,
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
CREATE TABLE "records" (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        record_id TEXT NOT NULL,
        kind INTEGER NOT NULL REFERENCES kinds (id),
        agent INTEGER NOT NULL REFERENCES words (id),
        user INTEGER NOT NULL REFERENCES words (id),
        started_us INTEGER NOT NULL,
        ttft_us INTEGER,
        duration_us INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        amount INTEGER NOT NULL
    );
CREATE TABLE set_aside (
        seq INTEGER PRIMARY KEY,
        reason TEXT NOT NULL,
        is_due INTEGER NOT NULL DEFAULT 0
    );
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
INSERT INTO "site" VALUES(1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
INSERT INTO "words" VALUES(0,'');
CREATE TRIGGER keys_insert AFTER INSERT ON keys BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER keys_update AFTER UPDATE ON keys BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER keys_delete AFTER DELETE ON keys BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE INDEX kinds_key ON kinds (key_id);
CREATE UNIQUE INDEX records_record_id ON records (record_id);
CREATE INDEX records_started ON records (started_us);
CREATE TRIGGER records_added AFTER INSERT ON records BEGIN
        DELETE FROM open_requests WHERE record_id = new.record_id;
        INSERT INTO key_use
        SELECT key_id, new.started_us / 1e6 FROM kinds WHERE id = new.kind
        ON CONFLICT (key_id) DO UPDATE SET last_used_at = max(last_used_at, excluded.last_used_at);
        INSERT INTO daily VALUES (
            new.started_us / 86400000000, new.kind, new.agent, 1, new.prompt_tokens,
            new.cached_tokens, new.completion_tokens, new.reasoning_tokens, new.amount
        ) ON CONFLICT (day, kind, agent) DO UPDATE SET
            requests = requests + 1,
            prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            completion_tokens = completion_tokens + excluded.completion_tokens,
            reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
            amount = amount + excluded.amount;
    END;
CREATE VIEW usage_daily AS
    SELECT day, key_id, owner, alias, coalesce(region, '') AS region, word AS agent_id, currency,
        price_input, price_cached, price_output, requests, prompt_tokens, cached_tokens,
        completion_tokens, reasoning_tokens, amount
    FROM daily JOIN kinds ON kinds.id = daily.kind JOIN words ON words.id = daily.agent;
CREATE VIEW usage_records AS
    SELECT seq, record_id, key_id, owner, alias, weights, revision, endpoint, stream, "end",
        finish_reason, nullif(agents.word, '') AS agent_id, nullif(users.word, '') AS "user",
        region, started_us, ttft_us, duration_us, prompt_tokens, cached_tokens, completion_tokens,
        reasoning_tokens, price_input, price_cached, price_output, currency, amount, node
    FROM records
    JOIN kinds ON kinds.id = records.kind
    JOIN words AS agents ON agents.id = records.agent
    JOIN words AS users ON users.id = records.user;
CREATE TRIGGER invoices_update BEFORE UPDATE ON invoices BEGIN
            SELECT RAISE(ABORT, 'an issued invoice never changes');
        END;
CREATE TRIGGER invoices_delete BEFORE DELETE ON invoices BEGIN
            SELECT RAISE(ABORT, 'an issued invoice never changes');
        END;
CREATE TRIGGER invoice_lines_update BEFORE UPDATE ON invoice_lines BEGIN
            SELECT RAISE(ABORT, 'an issued invoice never changes');
        END;
CREATE TRIGGER invoice_lines_delete BEFORE DELETE ON invoice_lines BEGIN
            SELECT RAISE(ABORT, 'an issued invoice never changes');
        END;
CREATE UNIQUE INDEX members_names ON members (coalesce(owner, ''), name);
CREATE INDEX keys_member ON keys (member_id);
CREATE INDEX kinds_owner ON kinds (owner);
CREATE INDEX daily_kind ON daily (kind, day);
CREATE TRIGGER owners_insert AFTER INSERT ON owners BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER owners_update AFTER UPDATE ON owners BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER owners_delete AFTER DELETE ON owners BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER members_insert AFTER INSERT ON members BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER members_update AFTER UPDATE ON members BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER members_delete AFTER DELETE ON members BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER site_insert AFTER INSERT ON site BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER site_update AFTER UPDATE ON site BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
CREATE TRIGGER site_delete AFTER DELETE ON site BEGIN
            UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = 'keys_version';
        END;
