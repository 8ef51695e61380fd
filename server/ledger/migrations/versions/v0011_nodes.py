"""A site's nodes, and what each may use of the limits that hold for all of them together.

fjord_exchange is one node's exchange: it tells what it used, and is told its shares. One runs at a
time, so that the shares of a limit never exceed it; docs/cluster.md says how they are found.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

NODES = """
CREATE TABLE nodes (
    process TEXT PRIMARY KEY,
    node_uid TEXT NOT NULL,
    name TEXT NOT NULL,
    address TEXT,
    version TEXT NOT NULL,
    state TEXT NOT NULL,
    is_drained BOOLEAN NOT NULL,
    divisor BIGINT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    joined_at TIMESTAMPTZ NOT NULL,
    settles_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    models JSONB NOT NULL
)
"""
SHARES = """
CREATE UNLOGGED TABLE limit_shares (
    level_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    process TEXT NOT NULL,
    most BIGINT NOT NULL,
    used BIGINT NOT NULL,
    share BIGINT NOT NULL,
    is_busy BOOLEAN NOT NULL,
    ends_at TIMESTAMPTZ,
    PRIMARY KEY (level_id, kind, process)
)
"""
OF_PROCESS = "CREATE INDEX limit_shares_process ON limit_shares (process)"

STANDING = """
CREATE FUNCTION fjord_standing(most BIGINT, divisor BIGINT) RETURNS BIGINT
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(least(most, 1), most / divisor)
$$
"""
"""What a node may use of a limit that it was told no share of."""

BEAT = """
    INSERT INTO nodes AS known (
        process, node_uid, name, address, version, state, is_drained, divisor, started_at,
        joined_at, settles_at, seen_at, models
    )
    SELECT me, t.uid, t.name, t.address, t.version, t.state, false, t.divisor,
        at - make_interval(secs => t.age_s), at,
        at + make_interval(secs => CASE WHEN t.returns THEN 3 ELSE 0 END), at,
        coalesce(t.models, '[]')
    FROM told t
    ON CONFLICT (process) DO UPDATE SET
        state = excluded.state, divisor = excluded.divisor, seen_at = at,
        joined_at = CASE WHEN joins THEN at ELSE known.joined_at END,
        settles_at = CASE WHEN joins THEN excluded.settles_at ELSE known.settles_at END,
        models = coalesce((SELECT t.models FROM told t), known.models)
"""

EXCHANGE = f"""
CREATE FUNCTION fjord_exchange(me TEXT, facts JSONB, counts JSONB) RETURNS JSONB
LANGUAGE plpgsql AS $$
DECLARE
    at TIMESTAMPTZ;
    mine RECORD;
    live BIGINT;
    is_settled BOOLEAN;
    joins BOOLEAN := (facts->>'joins')::boolean;
    own_divisor BIGINT := (facts->>'divisor')::bigint;
    shares JSONB;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(712306);
    at := clock_timestamp();
    WITH told AS (
        SELECT * FROM jsonb_to_record(facts) AS t (
            uid text, name text, address text, version text, state text, divisor bigint,
            age_s float8, returns boolean, models jsonb
        )
    )
    {BEAT};
    IF joins THEN  -- one process has a data directory
        UPDATE nodes SET state = 'stopped'
            WHERE node_uid = facts->>'uid' AND process <> me AND state <> 'stopped';
    END IF;
    DELETE FROM limit_shares s USING nodes n
        WHERE n.process = s.process AND n.seen_at < at - interval '70 seconds';
    DELETE FROM nodes WHERE seen_at < at - interval '1 day';
    SELECT greatest(count(*), 1) INTO live FROM nodes  -- 0: the last one says that it ends
        WHERE state <> 'stopped' AND seen_at > at - interval '10 seconds';
    SELECT * INTO mine FROM nodes WHERE process = me;
    SELECT mine.settles_at <= at AND NOT EXISTS (
        SELECT FROM nodes n WHERE n.process <> me AND n.state <> 'stopped'
            AND n.seen_at > at - interval '10 seconds' AND n.seen_at < mine.joined_at
    ) INTO is_settled;
    UPDATE nodes SET divisor = least(divisor, live) WHERE process = me AND divisor > live;
    DELETE FROM limit_shares s WHERE s.process = me AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(counts) AS c (level_id text, kind text)
        WHERE c.level_id = s.level_id AND c.kind = s.kind
    );
    WITH others AS MATERIALIZED (
        SELECT n.process, n.divisor,
            n.state <> 'stopped' AND n.seen_at > at - interval '10 seconds' AS is_live
        FROM nodes n WHERE n.process <> me
    ), theirs AS MATERIALIZED (
        SELECT s.level_id, s.kind, max(s.most) AS most, sum(s.share)::bigint AS share,
            sum(s.used)::bigint AS used, min(s.ends_at) FILTER (WHERE s.used > 0) AS ends_at,
            count(*) FILTER (WHERE s.is_busy AND o.is_live) AS busy,
            array_agg(o.process) FILTER (WHERE o.is_live) AS told
        FROM limit_shares s JOIN others o USING (process)
        GROUP BY s.level_id, s.kind
    ), own AS (
        SELECT * FROM jsonb_to_recordset(counts) AS c (
            level_id text, kind text, most bigint, used bigint, cap bigint, busy boolean,
            ends_s float8
        )
    ), accounts AS (
        SELECT level_id, kind, coalesce(o.most, t.most) AS most, coalesce(o.used, 0) AS used,
            coalesce(o.cap, fjord_standing(t.most, own_divisor)) AS cap,
            coalesce(o.busy, false) AS busy, o.ends_s,
            coalesce(t.share, 0) AS their_share, coalesce(t.used, 0) AS their_used,
            coalesce(t.busy, 0) AS their_busy, t.told, t.ends_at
        FROM own o FULL JOIN theirs t USING (level_id, kind)
    ), measured AS (
        SELECT a.*, a.most - a.their_share - coalesce((
                SELECT sum(fjord_standing(a.most, o.divisor)) FROM others o
                WHERE o.is_live AND o.process <> ALL (coalesce(a.told, '{{}}'))
            ), 0)::bigint AS room,
            greatest(a.most - a.their_used - a.used, 0) AS free,
            a.their_busy + a.busy::int AS busy_nodes,
            a.their_busy + a.busy::int = 0 AND
                (a.used + a.their_used) * 16 <= fjord_standing(a.most, live) AS is_little
        FROM accounts a
    ), aimed AS (
        SELECT m.*, m.used + CASE
            WHEN m.is_little THEN greatest(0, fjord_standing(m.most, live) - m.used)
            WHEN m.busy_nodes = 0 THEN (m.free + live - 1) / live
            WHEN m.busy THEN (
                m.free - m.free / (2 * live) * (live - m.busy_nodes) + m.busy_nodes - 1
            ) / m.busy_nodes
            ELSE m.free / (2 * live)
        END AS target
        FROM measured m
    ), decided AS (
        SELECT d.*, CASE WHEN is_settled
                THEN greatest(cap, used, least(room, target)) ELSE greatest(cap, used)
            END AS share,
            is_settled AND is_little
                AND cap <= fjord_standing(most, least(own_divisor, live))
                AND (room >= fjord_standing(most, live) OR most < live) AS is_over
        FROM aimed d
    ), dropped AS (
        DELETE FROM limit_shares s USING decided d
        WHERE d.is_over AND s.process = me AND s.level_id = d.level_id AND s.kind = d.kind
    ), kept AS (
        INSERT INTO limit_shares AS s (level_id, kind, process, most, used, share, is_busy, ends_at)
        SELECT level_id, kind, me, most, used, share, busy,
            date_trunc('second', at + make_interval(secs => ends_s))
        FROM decided WHERE NOT is_over
        ON CONFLICT (level_id, kind, process) DO UPDATE SET
            most = excluded.most, used = excluded.used, share = excluded.share,
            is_busy = excluded.is_busy, ends_at = excluded.ends_at
        WHERE (s.most, s.used, s.share, s.is_busy)
            IS DISTINCT FROM (excluded.most, excluded.used, excluded.share, excluded.is_busy)
    )
    SELECT jsonb_agg(jsonb_build_array(
        level_id, kind, most, CASE WHEN is_settled THEN least(share, target) ELSE cap END,
        their_used, extract(epoch FROM ends_at - at)
    )) INTO shares FROM decided WHERE NOT is_over;
    RETURN jsonb_build_object(
        'nodes', live, 'is_settled', is_settled, 'is_drained', mine.is_drained,
        'is_alone', live = 1 AND NOT EXISTS (SELECT FROM limit_shares WHERE process <> me),
        'shares', coalesce(shares, '[]')
    );
END $$
"""


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        for statement in (NODES, SHARES, OF_PROCESS, STANDING, EXCHANGE):
            op.execute(statement)
