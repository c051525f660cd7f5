-- Each statement removes `limit` rows at most and returns one row for each of them. What is old is in
-- order of time wherever an index has it.

-- A conversation may go when its run has ended long ago; without a record of its run, when nothing was said
-- in it since. Not while any other run that is alive, or ended lately, works on it.
-- name: retire_items
DELETE FROM items WHERE (conversation_id, number) IN (
    SELECT i.conversation_id, i.number
    FROM conversations AS c
    LEFT JOIN runs AS r ON r.id = c.run_id
    JOIN items AS i ON i.conversation_id = c.id
    WHERE c.created_at < %(before)s
      AND CASE WHEN r.id IS NOT NULL THEN r.ended_at < %(before)s
               ELSE NOT EXISTS (SELECT FROM items AS n WHERE n.conversation_id = c.id AND n.at >= %(before)s) END
      AND NOT EXISTS (SELECT FROM runs AS u WHERE u.conversation_id = c.id
                      AND (u.ended_at IS NULL OR u.ended_at >= %(before)s))
    LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_conversations
DELETE FROM conversations WHERE id IN (
    SELECT c.id FROM conversations AS c
    LEFT JOIN runs AS r ON r.id = c.run_id
    WHERE c.created_at < %(before)s AND (r.id IS NULL OR r.ended_at < %(before)s)
      AND NOT EXISTS (SELECT FROM items AS i WHERE i.conversation_id = c.id)
      AND NOT EXISTS (SELECT FROM runs AS u WHERE u.conversation_id = c.id
                      AND (u.ended_at IS NULL OR u.ended_at >= %(before)s))
    LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retention_mark
SELECT kept_from AS hour FROM retention_marks WHERE name = %(name)s

-- name: first_attempt_hour
SELECT date_trunc('hour', min(at), 'UTC') AS hour FROM attempts

-- name: set_retention_mark
INSERT INTO retention_marks AS m (name, kept_from) VALUES (%(name)s, %(kept_from)s)
ON CONFLICT (name) DO UPDATE SET kept_from = greatest(m.kept_from, excluded.kept_from)

-- Attempts of one hour. What was never billed goes whole; what was billed keeps its account, as the ledger
-- does: who bought what, when, how it ended and what it cost. Not what Redis has not been told yet.
-- name: thin_attempts
WITH chosen AS (
    SELECT a.attempt_id,
           a.state IN ('refused', 'released')
           AND NOT EXISTS (SELECT FROM ledger AS l WHERE l.attempt_id = a.attempt_id AND l.kind = 'settle')
           AND NOT EXISTS (SELECT FROM ledger AS l WHERE l.attempt_id = a.attempt_id AND l.kind = 'adjust')
           AS unbilled
    FROM attempts AS a
    WHERE a.at >= %(first)s AND a.at < %(last)s
      AND a.state IN ('refused', 'released', 'settled') AND a.closed_epoch IS DISTINCT FROM 0
      AND (a.state <> 'settled' OR a.call_key <> '' OR a.counters <> '{}')
      AND NOT (a.state = 'released' AND a.call_key = '' AND a.counters = '{}' AND a.opened)
      AND NOT EXISTS (SELECT FROM runs AS r WHERE r.id = a.run_id AND r.ended_at IS NULL)
    LIMIT %(limit)s
), gone AS (
    DELETE FROM attempts AS a USING chosen AS c WHERE a.attempt_id = c.attempt_id AND c.unbilled
    RETURNING true
), thinned AS (
    UPDATE attempts AS a SET
        call_key = '', tags = '{}', trace_id = '', span_id = '', prompt_version = '', temperature = NULL,
        max_output_tokens = NULL, process_id = '', counters = '{}', error_message = '', refusal = NULL,
        provider_usage = '{}'
    FROM chosen AS c WHERE a.attempt_id = c.attempt_id AND NOT c.unbilled
    RETURNING true
)
SELECT (SELECT count(*) FROM gone) AS removed, (SELECT count(*) FROM thinned) AS thinned

-- Where the next attempt may be, without looking at every hour of a time in which there was none.
-- name: quiet_until
SELECT CASE WHEN NOT EXISTS (SELECT FROM attempts WHERE at >= %(after)s AND at < %(after)s + interval '30 days')
            THEN %(after)s::timestamptz + interval '30 days'
            WHEN NOT EXISTS (SELECT FROM attempts WHERE at >= %(after)s AND at < %(after)s + interval '1 day')
            THEN %(after)s::timestamptz + interval '1 day'
            ELSE %(after)s::timestamptz END AS at

-- name: retire_run_events
DELETE FROM run_events WHERE id IN (
    SELECT e.id FROM run_events AS e
    WHERE e.at < %(before)s AND NOT EXISTS (SELECT FROM runs AS r WHERE r.id = e.run_id AND r.ended_at IS NULL)
    ORDER BY e.id LIMIT %(limit)s
)
RETURNING true AS gone

-- Not while its words are still there, or a child of it lives.
-- name: retire_runs
DELETE FROM runs WHERE id IN (
    SELECT r.id FROM runs AS r
    WHERE r.ended_at < %(before)s
      AND NOT EXISTS (SELECT FROM conversations AS c WHERE c.id = r.conversation_id)
      AND NOT EXISTS (SELECT FROM runs AS c WHERE c.parent = r.id AND c.parent <> '' AND c.ended_at IS NULL)
    ORDER BY r.ended_at LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_events
DELETE FROM events WHERE key IN (SELECT key FROM events WHERE at < %(before)s ORDER BY at LIMIT %(limit)s)
RETURNING true AS gone

-- name: retire_alert_sightings
DELETE FROM alert_sightings WHERE event_key IN (
    SELECT s.event_key FROM alerts AS a JOIN alert_sightings AS s ON s.alert_id = a.id
    WHERE a.status = 'resolved' AND a.last_seen < %(before)s AND coalesce(a.resolved_at, a.last_seen) < %(before)s
    LIMIT %(limit)s
)
RETURNING true AS gone

-- Counted from its end: of what was seen last long ago and has ended lately people may still have to be told.
-- name: retire_alerts
DELETE FROM alerts WHERE id IN (
    SELECT a.id FROM alerts AS a
    WHERE a.status = 'resolved' AND a.last_seen < %(before)s AND coalesce(a.resolved_at, a.last_seen) < %(before)s
      AND NOT EXISTS (SELECT FROM alert_sightings AS s WHERE s.alert_id = a.id)
    ORDER BY a.last_seen LIMIT %(limit)s
)
RETURNING true AS gone

-- Not while there is the alert: who was told decides who is told of its end, and that nobody is paged again.
-- name: retire_deliveries
DELETE FROM deliveries WHERE (subject, kind, number, channel) IN (
    SELECT d.subject, d.kind, d.number, d.channel FROM deliveries AS d
    WHERE d.planned_at < %(before)s AND d.state <> 'pending'
      AND NOT EXISTS (SELECT FROM alerts AS a WHERE a.id = d.subject)
    ORDER BY d.planned_at LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_silences
DELETE FROM silences WHERE id IN (
    SELECT id FROM silences WHERE until < %(before)s ORDER BY until LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_episodes
DELETE FROM episodes WHERE key IN (SELECT key FROM episodes WHERE seen_at < %(before)s LIMIT %(limit)s)
RETURNING true AS gone

-- The last change of a switch says what it is: Redis is loaded again from it, however old it is.
-- name: retire_switch_events
DELETE FROM switch_events WHERE key IN (
    SELECT s.key FROM switch_events AS s
    WHERE s.at < %(before)s
      AND EXISTS (SELECT FROM switch_events AS n
                  WHERE n.name = s.name AND (n.at, n.epoch, n.seq, n.key) > (s.at, s.epoch, s.seq, s.key))
    LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_top_ups
DELETE FROM top_ups WHERE top_up_id IN (
    SELECT t.top_up_id FROM top_ups AS t
    WHERE t.at < %(before)s
      AND NOT EXISTS (SELECT FROM runs AS r
                      WHERE r.id = substring(t.counter FROM '^run:(.*)[|]run[|]run$')
                        AND (r.ended_at IS NULL OR r.ended_at >= %(before)s))
    LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_dead_events
DELETE FROM dead_events WHERE key IN (SELECT key FROM dead_events WHERE at < %(before)s LIMIT %(limit)s)
RETURNING true AS gone

-- name: retire_probes
DELETE FROM probes WHERE (provider, deployment, at) IN (
    SELECT provider, deployment, at FROM probes WHERE at < %(before)s ORDER BY at LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_usage_hours
DELETE FROM usage_hours WHERE id IN (
    SELECT id FROM usage_hours WHERE hour < %(before)s ORDER BY hour LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_usage_users
DELETE FROM usage_users WHERE id IN (
    SELECT id FROM usage_users WHERE hour < %(before)s ORDER BY hour LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_latency_hours
DELETE FROM latency_hours WHERE id IN (
    SELECT id FROM latency_hours WHERE hour < %(before)s ORDER BY hour LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_reconciliations
DELETE FROM reconciliations WHERE hour IN (
    SELECT hour FROM reconciliations WHERE hour < %(before)s ORDER BY hour LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_provider_costs
DELETE FROM provider_costs WHERE (provider, day) IN (
    SELECT provider, day FROM provider_costs WHERE day < (%(before)s)::date LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_unattributed_usage
DELETE FROM unattributed_usage WHERE (provider, model, day) IN (
    SELECT provider, model, day FROM unattributed_usage WHERE day < (%(before)s)::date ORDER BY day LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_rate_limit_violations
DELETE FROM rate_limit_violations WHERE id IN (
    SELECT id FROM rate_limit_violations WHERE minute < %(before)s ORDER BY minute LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_scheduled_work
DELETE FROM scheduled_work WHERE (kind, at) IN (
    SELECT kind, at FROM scheduled_work WHERE at < %(before)s LIMIT %(limit)s
)
RETURNING true AS gone

-- The newest epoch that was opened, and the one that says how far the outbox has been drained, stay.
-- name: retire_epochs
DELETE FROM epochs WHERE epoch IN (
    SELECT epoch FROM epochs
    WHERE closed_at < now() - interval '90 days'
      AND epoch < (SELECT max(epoch) FROM epochs WHERE state = 'open')
      AND epoch < (SELECT max(epoch) FROM epochs WHERE drained_seq > 0)
    LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_claims
DELETE FROM claims WHERE (epoch, attempt_id) IN (
    SELECT epoch, attempt_id FROM claims
    WHERE epoch < (SELECT max(epoch) FROM epochs WHERE state = 'open') LIMIT %(limit)s
)
RETURNING true AS gone

-- name: retire_processes
DELETE FROM processes WHERE process_id IN (
    SELECT process_id FROM processes WHERE last_seen < now() - interval '7 days' LIMIT %(limit)s
)
RETURNING true AS gone

-- name: oldest_kept
SELECT name, at FROM (
    SELECT 'conversations' AS name, min(created_at) AS at FROM conversations
    UNION ALL SELECT 'attempts', (SELECT kept_from FROM retention_marks WHERE name = 'attempts')
    UNION ALL SELECT 'run_events', (SELECT at FROM run_events ORDER BY id LIMIT 1)
    UNION ALL SELECT 'runs', min(ended_at) FROM runs WHERE ended_at IS NOT NULL
    UNION ALL SELECT 'alerts', min(at) FROM events
    UNION ALL SELECT 'switch_events', min(at) FROM switch_events
    UNION ALL SELECT 'top_ups', min(at) FROM top_ups
    UNION ALL SELECT 'dead_events', min(at) FROM dead_events
    UNION ALL SELECT 'probes', min(at) FROM probes
    UNION ALL SELECT 'usage', min(hour) FROM usage_hours
    UNION ALL SELECT 'reconciliations', min(hour) FROM reconciliations
    UNION ALL SELECT 'violations', min(minute) FROM rate_limit_violations
    UNION ALL SELECT 'scheduled_work', min(at) FROM scheduled_work
) AS oldest
WHERE at IS NOT NULL
