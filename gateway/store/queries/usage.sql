-- name: lock_usage
SELECT set_config('lock_timeout', '30s', true), pg_advisory_xact_lock(%(key)s)

-- Marks of attempts become marks of their hours. One whose attempt is not visible is dropped: whoever
-- books the attempt marks its hour in the same transaction, and that mark is not gone yet.
-- name: take_attempt_marks
DELETE FROM stale_hours WHERE attempt_id IS NOT NULL RETURNING attempt_id

-- name: mark_hours_of
INSERT INTO stale_hours (hour)
SELECT DISTINCT date_trunc('hour', at, 'UTC') FROM attempts WHERE attempt_id = ANY(%(ids)s::text[])

-- name: mark_attempts
INSERT INTO stale_hours (attempt_id) SELECT unnest(%(ids)s::text[])

-- The newest first: those are waited for.
-- name: take_stale_hours
WITH chosen AS (SELECT DISTINCT hour FROM stale_hours WHERE hour IS NOT NULL ORDER BY hour DESC LIMIT %(limit)s),
taken AS (DELETE FROM stale_hours USING chosen WHERE stale_hours.hour = chosen.hour)
SELECT hour, hour < (SELECT before FROM usage_frozen) AS frozen FROM chosen

-- name: forget_usage_hour
DELETE FROM usage_hours WHERE hour = %(hour)s

-- name: forget_usage_users
DELETE FROM usage_users WHERE hour = %(hour)s

-- name: forget_latency_hour
DELETE FROM latency_hours WHERE hour = %(hour)s

-- A posting is looked up by its attempt, not by its time: an adjustment may come days later.
-- A first attempt lasts from the arrival of its call, by the clock of its own process; a later one from
-- its own reservation, else it would be charged with the attempts before it.
-- name: compute_usage_hour
WITH mine AS MATERIALIZED (
    SELECT a.agent, a.deployment, a.provider, a.model, a.tier, a.team, a.feature, a.application, a.endpoint,
           a.key_id, a.mode, a.user_id, a.cached, a.saved_nano_usd,
           a.input_tokens, a.output_tokens, a.cache_read_tokens, a.cache_write_tokens,
           coalesce(a.day, (a.at AT TIME ZONE 'UTC')::date) AS day,
           a.state = 'refused' AS refused,
           a.state NOT IN ('refused', 'pending') AND a.success IS NOT TRUE AS failed,
           coalesce((SELECT l.amount_nano_usd FROM ledger AS l
                     WHERE l.attempt_id = a.attempt_id AND l.kind = 'settle'), 0)
           + coalesce((SELECT sum(l.amount_nano_usd)::bigint FROM ledger AS l
                       WHERE l.attempt_id = a.attempt_id AND l.kind = 'adjust'), 0) AS cost_nano_usd,
           CASE WHEN a.success AND NOT a.cached AND a.done_at IS NOT NULL THEN
               extract(epoch FROM a.done_at - CASE WHEN a.number > 1 THEN coalesce(a.reserved_at, a.queued_at)
                                                   ELSE coalesce(a.queued_at, a.reserved_at) END) * 1000
           END::float8 AS duration_ms
    FROM attempts AS a
    WHERE a.at >= %(hour)s::timestamptz AND a.at < %(hour)s::timestamptz + interval '1 hour'
), users AS (
    INSERT INTO usage_users (hour, day, user_id, cost_nano_usd, attempts)
    SELECT %(hour)s::timestamptz, day, user_id, sum(cost_nano_usd)::bigint, count(*)
    FROM mine WHERE NOT refused GROUP BY day, user_id
), latencies AS (
    INSERT INTO latency_hours (hour, day, agent, deployment, bucket, attempts)
    SELECT %(hour)s::timestamptz, day, agent, deployment,
           CASE WHEN duration_ms < 1 THEN 0
                ELSE least(floor(ln(duration_ms) / ln(2::float8) * %(per_doubling)s) + 1, %(max_bucket)s) END AS bucket,
           count(*)
    FROM mine WHERE duration_ms IS NOT NULL GROUP BY day, agent, deployment, bucket
)
INSERT INTO usage_hours (hour, day, agent, deployment, provider, model, tier, team, feature, application,
                         endpoint, key_id, mode, cost_nano_usd, attempts, errors, refusals, cached,
                         input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, saved_nano_usd)
SELECT %(hour)s::timestamptz, day, agent, deployment, provider, model, tier, team, feature, application,
       endpoint, key_id, mode, sum(cost_nano_usd)::bigint,
       count(*) FILTER (WHERE NOT refused), count(*) FILTER (WHERE failed), count(*) FILTER (WHERE refused),
       count(*) FILTER (WHERE cached AND NOT refused),
       sum(input_tokens)::bigint, sum(output_tokens)::bigint,
       sum(cache_read_tokens)::bigint, sum(cache_write_tokens)::bigint, sum(saved_nano_usd)::bigint
FROM mine
GROUP BY day, agent, deployment, provider, model, tier, team, feature, application, endpoint, key_id, mode

-- name: freeze_usage
UPDATE usage_frozen SET before = greatest(before, date_trunc('hour', %(before)s::timestamptz, 'UTC'))

-- name: count_stale_hours
SELECT count(*) AS marks, count(DISTINCT hour) AS hours, count(attempt_id) AS attempts FROM stale_hours

-- name: latencies
SELECT CASE %(by)s WHEN 'agent' THEN agent WHEN 'deployment' THEN deployment ELSE '' END AS name,
       bucket, sum(attempts)::bigint AS attempts
FROM latency_hours WHERE day >= %(first_day)s AND day <= %(last_day)s
GROUP BY 1, bucket
