"""The statements of a site's keys and their answers."""

from typing import Final

LOST_S: Final = 60
"""A process that said nothing of a request for so long does not answer it any more."""
SWEEPING: Final = 712_307
"""The lock of the node that sweeps."""

CLAIM: Final = """
INSERT INTO idempotency_entries (
    entry_id, owner, print, record_id, began, node, beat_at, is_over, bytes
) VALUES (?, ?, ?, ?, ?, ?, now(), false, 0)
ON CONFLICT (entry_id) DO NOTHING
"""
FIND: Final = f"""
SELECT entry_id, owner, print, record_id, began, answer, node, is_over,
    NOT is_over AND split_part(node, '/', 1) <> ?
        AND beat_at > now() - interval '{LOST_S} seconds'
FROM idempotency_entries WHERE entry_id = ?
"""
REPLACE: Final = f"""
UPDATE idempotency_entries
SET print = ?, record_id = ?, began = ?, node = ?, beat_at = now(), is_over = false
WHERE entry_id = ? AND node = ? AND record_id = ? AND answer IS NULL AND (
    is_over OR split_part(node, '/', 1) = ? OR beat_at <= now() - interval '{LOST_S} seconds'
)
"""
OWN: Final = "entry_id = ? AND node = ? AND record_id = ? AND NOT is_over"
"""Where nobody has taken its place meanwhile."""
KEEP: Final = f"""
UPDATE idempotency_entries SET answer = ?, bytes = ?, is_over = true WHERE {OWN}
"""
END: Final = f"UPDATE idempotency_entries SET is_over = true WHERE {OWN}"
FORGET: Final = f"DELETE FROM idempotency_entries WHERE {OWN}"
EXPIRED: Final = """
DELETE FROM idempotency_entries WHERE entry_id = ? AND began <= ? RETURNING owner, bytes
"""
BEAT: Final = """
UPDATE idempotency_entries SET beat_at = now()
WHERE node = ? AND entry_id = ANY(?) AND NOT is_over
"""
CHARGED: Final = "SELECT amount FROM usage_records WHERE record_id = ?"
ROOM: Final = """
SELECT coalesce(sum(bytes), 0)::bigint, coalesce(sum(bytes) FILTER (WHERE owner = ?), 0)::bigint
FROM idempotency_owners
"""
COUNT_KEY: Final = """
INSERT INTO idempotency_owners AS known (owner, keys, bytes) VALUES (?, 1, 0)
ON CONFLICT (owner) DO UPDATE SET keys = known.keys + 1 WHERE known.keys < ?
"""
COUNT: Final = """
UPDATE idempotency_owners SET keys = keys + ?, bytes = bytes + ? WHERE owner = ?
"""
SWEEP: Final = """
WITH gone AS (
    DELETE FROM idempotency_entries WHERE entry_id IN (
        SELECT entry_id FROM idempotency_entries WHERE began <= ?
        ORDER BY began LIMIT ? FOR UPDATE SKIP LOCKED
    ) RETURNING owner, bytes
), counted AS (
    SELECT owner, count(*) AS keys, sum(bytes)::bigint AS bytes FROM gone GROUP BY owner
), told AS (
    UPDATE idempotency_owners AS known
    SET keys = known.keys - counted.keys, bytes = known.bytes - counted.bytes
    FROM counted WHERE known.owner = counted.owner
)
SELECT count(*) FROM gone
"""
NO_KEYS: Final = "DELETE FROM idempotency_owners WHERE keys <= 0"
FORGET_ANSWERS: Final = """
UPDATE idempotency_entries SET answer = NULL, bytes = 0 WHERE owner = ? AND answer IS NOT NULL
"""
NO_BYTES: Final = "UPDATE idempotency_owners SET bytes = 0 WHERE owner = ?"
