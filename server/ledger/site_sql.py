"""The statements between a node and its site."""

NAMES = (
    'record_id, key_id, owner, alias, weights, revision, endpoint, stream, "end", finish_reason,'
    ' agent_id, "user", region, started_us, ttft_us, duration_us, prompt_tokens, cached_tokens,'
    " completion_tokens, reasoning_tokens, price_input, price_cached, price_output, currency,"
    " amount, node"
)
COLUMNS = tuple(name.strip().strip('"') for name in NAMES.split(","))
UNSHIPPED = f"SELECT seq, {NAMES} FROM usage_records WHERE seq > ? ORDER BY seq LIMIT ?"
SET_ASIDE = """
INSERT INTO set_aside (seq, reason) VALUES (?, ?)
ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, is_due = 0
"""
QUEUE_AGAIN = (
    "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'records' AND ? IS NOT NULL",
    "UPDATE records SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'records')"
    " WHERE seq = ?",
    "DELETE FROM set_aside WHERE seq = ?",
)
"""Each of one record's seq. A number that was used is never used again."""

KNOWN = """
SELECT 1 FROM usage_records WHERE seq = ? AND record_id = ? AND "end" <> 'lost'
"""
"""Whether a node has the record that its site marks. One that it closed as lost may be another to
the site: the node's ledger is from before it ended."""

MARKED = "SELECT seq, record_id FROM shipments WHERE node_uid = ?"
MARK = """
INSERT INTO shipments (node_uid, seq, record_id) VALUES (?, ?, ?)
ON CONFLICT (node_uid) DO UPDATE SET seq = excluded.seq, record_id = excluded.record_id
"""
MARKS_ELSEWHERE = "SELECT node_uid, seq FROM shipments WHERE node_uid <> ? ORDER BY node_uid"
"""Where none of them moved, the other nodes have spent nothing new."""

SHIP = f"""
WITH fresh AS (
    INSERT INTO usage_records ({NAMES}, node_uid)
    SELECT {NAMES}, node.uid
    FROM (SELECT ?::jsonb AS batch, ?::text AS uid) AS node,
        jsonb_populate_recordset(NULL::usage_records, node.batch)
    ON CONFLICT (record_id) DO NOTHING
    RETURNING *
)
INSERT INTO usage_daily AS known (
    day, node_uid, key_id, owner, alias, region, agent_id, currency,
    price_input, price_cached, price_output,
    requests, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, amount
)
SELECT started_us / 86400000000, node_uid, key_id, owner, alias,
    coalesce(region, ''), coalesce(agent_id, ''), currency,
    price_input, price_cached, price_output,
    count(*), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
    sum(reasoning_tokens), sum(amount)
FROM fresh
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
ON CONFLICT (
    key_id, day, node_uid, owner, alias, region, agent_id, currency,
    price_input, price_cached, price_output
) DO UPDATE SET
    requests = known.requests + excluded.requests,
    prompt_tokens = known.prompt_tokens + excluded.prompt_tokens,
    cached_tokens = known.cached_tokens + excluded.cached_tokens,
    completion_tokens = known.completion_tokens + excluded.completion_tokens,
    reasoning_tokens = known.reasoning_tokens + excluded.reasoning_tokens,
    amount = known.amount + excluded.amount
"""

USED_KEYS = """
INSERT INTO key_use AS known (key_id, last_used_at)
SELECT key_id, last_used_at FROM jsonb_populate_recordset(NULL::key_use, ?::jsonb)
ORDER BY key_id
ON CONFLICT (key_id) DO UPDATE
SET last_used_at = greatest(known.last_used_at, excluded.last_used_at)
"""
"""In one order for all nodes: none waits for a row of another that waits for one of its own."""

ELSEWHERE = """
SELECT level_id, day, used.currency, sum(amount)::bigint,
    sum(prompt_tokens + completion_tokens)::bigint
FROM unnest(?::text[], ?::text[], ?::bigint[]) AS budgeted (level_id, counted, start_day)
JOIN {of}
WHERE node_uid <> ? AND day >= start_day
GROUP BY level_id, day, used.currency
ORDER BY level_id, day, used.currency
"""
"""What levels of one kind have spent on other nodes than this."""

RESERVE = """
INSERT INTO reservations (node_uid, key_id, unit, reserved, seen_at)
SELECT ?, key_id, unit, reserved, now()
FROM jsonb_to_recordset(?::jsonb) AS mine (key_id text, unit text, reserved bigint)
ON CONFLICT (node_uid, key_id) DO UPDATE
SET unit = excluded.unit, reserved = excluded.reserved, seen_at = excluded.seen_at
"""
"""`key_id` is the id of any level; of a key it is the key's own."""

FORGET_RESERVATIONS = "DELETE FROM reservations WHERE node_uid = ?"
"""Of this node's former life, or of before a cut; what is open now is told in the same turn."""

RESERVED_ELSEWHERE = """
SELECT key_id, unit, sum(reserved)::bigint
FROM reservations
WHERE node_uid <> ? AND key_id = ANY(?) AND seen_at > now() - interval '1 minute'
GROUP BY key_id, unit
"""
"""A node that has said nothing for a minute is dead or cut off, and what it held is free again; a
dead one's requests become `lost` records at its next start."""

JOIN_KEYS = "SELECT 1 FROM keys WHERE key_id = ? OR secret_hash = ?"
