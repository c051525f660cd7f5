-- name: open_run
INSERT INTO runs AS r (id, temporal_run_id, agent, status, conversation_id, spec, budget_nano_usd, team,
                       user_id, session, mode, tags, parent)
VALUES (%(id)s, %(temporal_run_id)s, %(agent)s, %(status)s, %(conversation_id)s, %(spec)s::jsonb,
        %(budget_nano_usd)s, %(team)s, %(user_id)s, %(session)s, %(mode)s, %(tags)s::jsonb, %(parent)s)
ON CONFLICT (id) DO UPDATE SET
    temporal_run_id = coalesce(nullif(excluded.temporal_run_id, ''), r.temporal_run_id)
RETURNING *

-- A run that has ended is something to tell.
-- name: update_run
WITH done AS (
    UPDATE runs SET
    status = coalesce(%(status)s::text, status),
    reason = coalesce(%(reason)s::text, reason),
    waiting_for = CASE WHEN %(status)s::text = ANY(%(ended)s::text[]) THEN ''
                       ELSE coalesce(%(waiting_for)s::text, waiting_for) END,
    steps = greatest(steps, %(steps)s::int),
    cost_nano_usd = greatest(cost_nano_usd, %(cost)s::bigint),
    answer_item = coalesce(%(answer_item)s::int, answer_item),
    budget_nano_usd = coalesce(%(budget)s::bigint, budget_nano_usd),
    updated_at = now(),
    ended_at = CASE WHEN %(status)s::text = ANY(%(ended)s::text[]) THEN now() END
WHERE id = %(id)s AND ended_at IS NULL
RETURNING *
), marked AS (
    INSERT INTO trace_outbox (target, subject, mark)
    SELECT t.name, 'run:' || done.id, nextval('trace_marks') FROM done CROSS JOIN trace_targets AS t WHERE done.ended_at IS NOT NULL
    ON CONFLICT (target, subject) DO UPDATE SET mark = nextval('trace_marks'), tries = 0, error = '', at = now()
)
SELECT * FROM done

-- name: get_run
SELECT * FROM runs WHERE id = %(id)s

-- name: record_run_event
INSERT INTO run_events (run_id, kind, key, body)
VALUES (%(run_id)s, %(kind)s, %(key)s, %(body)s::json)
ON CONFLICT DO NOTHING
RETURNING id

-- What somebody says of a run replaces what he said of it before, and is something to tell.
-- name: rate_run
WITH rated AS (
    INSERT INTO run_events AS e (run_id, kind, key, body)
    SELECT id, 'rating', %(key)s, %(body)s::json FROM runs WHERE id = %(run_id)s
    ON CONFLICT (run_id, key) DO UPDATE SET body = excluded.body, at = now()
    RETURNING run_id
), marked AS (
    INSERT INTO trace_outbox (target, subject, mark)
    SELECT t.name, 'run:' || run_id, nextval('trace_marks') FROM rated CROSS JOIN trace_targets AS t
    ON CONFLICT (target, subject) DO UPDATE SET mark = nextval('trace_marks'), tries = 0, error = '', at = now()
)
SELECT run_id FROM rated

-- name: run_events
SELECT run_id, kind, key, body, at FROM run_events
WHERE run_id = %(run_id)s AND kind = coalesce(%(kind)s::text, kind)
ORDER BY id

-- What the enforcer looks at every second: only runs that wait, and those that a switch ends.
-- name: watched_runs
SELECT id, agent, waiting_for, coalesce(spec #>> '{agent,on_switch}', '') = 'stop' AS stops_on_switch
FROM runs
WHERE ended_at IS NULL AND (waiting_for <> '' OR spec #>> '{agent,on_switch}' = 'stop')
ORDER BY updated_at LIMIT %(limit)s

-- Touches the runs that changed longest ago, so that the next look takes others.
-- name: look_at_oldest_runs
UPDATE runs SET updated_at = now()
WHERE id IN (SELECT id FROM runs WHERE ended_at IS NULL AND updated_at < now() - make_interval(secs => %(idle)s)
             ORDER BY updated_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
RETURNING id, steps
