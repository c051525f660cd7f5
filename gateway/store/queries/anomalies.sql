-- What the anomaly sweep asks. `now` is always given: a sweep for an earlier minute sees what was then.
-- `late` sweeps count the present hour up to `now` from attempts; others read it from usage_hours, which
-- is the same while the hour goes on, and cheaper.

-- Settlements of what had been in doubt, and adjustments, are not speed.
-- name: spent_since
SELECT coalesce(sum(l.amount_nano_usd), 0)::bigint AS spent_nano_usd
FROM ledger AS l JOIN attempts AS a ON a.attempt_id = l.attempt_id
WHERE l.kind = 'settle' AND a.in_doubt_at IS NULL
  AND l.at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s) AND l.at <= %(now)s

-- name: spending_of_agents
WITH costs AS (
    SELECT agent, day, hour, cost_nano_usd FROM usage_hours
    WHERE (day = %(today)s OR hour = %(hour)s::timestamptz - interval '1 hour')
      AND (hour < %(hour)s OR hour = %(hour)s AND NOT %(late)s)
    UNION ALL
    SELECT a.agent, coalesce(a.day, (a.at AT TIME ZONE 'UTC')::date), %(hour)s,
           coalesce((SELECT l.amount_nano_usd FROM ledger AS l
                     WHERE l.attempt_id = a.attempt_id AND l.kind = 'settle' AND l.at <= %(now)s), 0)
    FROM attempts AS a
    WHERE %(late)s AND a.at >= %(hour)s AND a.at <= %(now)s AND a.state <> 'refused'
)
SELECT agent,
       coalesce(sum(cost_nano_usd) FILTER (WHERE hour = %(hour)s), 0)::bigint AS hour_nano_usd,
       coalesce(sum(cost_nano_usd) FILTER (WHERE hour = %(hour)s::timestamptz - interval '1 hour'), 0)::bigint
           AS hour_before_nano_usd,
       coalesce(sum(cost_nano_usd) FILTER (WHERE day = %(today)s), 0)::bigint AS today_nano_usd
FROM costs GROUP BY agent
HAVING coalesce(sum(cost_nano_usd) FILTER (WHERE hour = %(hour)s), 0) >= %(least_hour)s
    OR coalesce(sum(cost_nano_usd) FILTER (WHERE day = %(today)s), 0) >= %(least_today)s

-- Days of which nothing is here had no spending; the caller knows which they are.
-- name: days_of_agents
SELECT u.agent, d.day,
       sum(u.cost_nano_usd)::bigint AS whole_nano_usd,
       coalesce(sum(u.cost_nano_usd) FILTER (WHERE u.hour <= d.same_hour), 0)::bigint AS so_far_nano_usd,
       coalesce(sum(u.cost_nano_usd) FILTER (WHERE u.hour = d.same_hour), 0)::bigint AS hour_nano_usd
FROM unnest(%(days)s::date[], %(same_hours)s::timestamptz[]) AS d (day, same_hour)
JOIN usage_hours AS u ON u.day = d.day
WHERE u.agent = ANY(%(agents)s::text[])
GROUP BY u.agent, d.day

-- name: spent_by_scope
WITH costs AS (
    SELECT CASE %(by)s WHEN 'agent' THEN agent WHEN 'tier' THEN tier WHEN 'model' THEN deployment
                       WHEN 'provider' THEN provider WHEN 'team' THEN team WHEN 'key' THEN key_id
                       ELSE '' END AS name, day, hour, cost_nano_usd
    FROM usage_hours
    WHERE (day >= %(since)s AND day <= %(today)s OR hour = %(hour)s)
      AND (hour < %(hour)s OR hour = %(hour)s AND NOT %(late)s)
    UNION ALL
    SELECT CASE %(by)s WHEN 'agent' THEN a.agent WHEN 'tier' THEN a.tier WHEN 'model' THEN a.deployment
                       WHEN 'provider' THEN a.provider WHEN 'team' THEN a.team WHEN 'key' THEN a.key_id
                       ELSE '' END, coalesce(a.day, (a.at AT TIME ZONE 'UTC')::date), %(hour)s,
           coalesce((SELECT l.amount_nano_usd FROM ledger AS l
                     WHERE l.attempt_id = a.attempt_id AND l.kind = 'settle' AND l.at <= %(now)s), 0)
    FROM attempts AS a
    WHERE %(late)s AND a.at >= %(hour)s AND a.at <= %(now)s AND a.state <> 'refused'
)
SELECT name,
       coalesce(sum(cost_nano_usd) FILTER (WHERE hour = %(hour)s), 0)::bigint AS hour,
       coalesce(sum(cost_nano_usd) FILTER (WHERE day = %(today)s), 0)::bigint AS day,
       coalesce(sum(cost_nano_usd) FILTER (WHERE day >= %(since)s), 0)::bigint AS month
FROM costs GROUP BY name HAVING sum(cost_nano_usd) > %(least)s

-- name: spent_by_user
WITH costs AS (
    SELECT user_id, day, hour, cost_nano_usd FROM usage_users
    WHERE (day >= %(since)s AND day <= %(today)s OR hour = %(hour)s)
      AND (hour < %(hour)s OR hour = %(hour)s AND NOT %(late)s)
    UNION ALL
    SELECT a.user_id, coalesce(a.day, (a.at AT TIME ZONE 'UTC')::date), %(hour)s,
           coalesce((SELECT l.amount_nano_usd FROM ledger AS l
                     WHERE l.attempt_id = a.attempt_id AND l.kind = 'settle' AND l.at <= %(now)s), 0)
    FROM attempts AS a
    WHERE %(late)s AND a.at >= %(hour)s AND a.at <= %(now)s AND a.state <> 'refused'
)
SELECT user_id AS name,
       coalesce(sum(cost_nano_usd) FILTER (WHERE hour = %(hour)s), 0)::bigint AS hour,
       coalesce(sum(cost_nano_usd) FILTER (WHERE day = %(today)s), 0)::bigint AS day,
       coalesce(sum(cost_nano_usd) FILTER (WHERE day >= %(since)s), 0)::bigint AS month
FROM costs WHERE user_id <> '' GROUP BY user_id HAVING sum(cost_nano_usd) > %(least)s

-- Calls are found by when they were admitted (there the index is), ten minutes before the window at most.
-- name: outcomes_of_agents
SELECT agent AS name, count(*) AS calls, count(*) FILTER (WHERE status <> 'success') AS errors
FROM attempts
WHERE at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s + 600) AND at <= %(now)s
  AND coalesce(done_at, settled_at, in_doubt_at) > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s)
  AND coalesce(done_at, settled_at, in_doubt_at) <= %(now)s
  AND status IN ('success', 'error', 'timeout')
GROUP BY agent

-- A call that got its answer from the second deployment has succeeded.
-- name: outcome_of_calls
SELECT count(*) AS calls, count(*) FILTER (WHERE NOT succeeded) AS errors
FROM (
    SELECT bool_or(status = 'success') AS succeeded
    FROM attempts
    WHERE at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s + 600) AND at <= %(now)s
      AND coalesce(done_at, settled_at, in_doubt_at) > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s)
      AND coalesce(done_at, settled_at, in_doubt_at) <= %(now)s
      AND status IN ('success', 'error', 'timeout')
    GROUP BY call_key
) AS calls

-- name: durations_of_deployments
SELECT deployment, count(*) AS calls,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY
           extract(epoch FROM done_at - CASE WHEN number > 1 THEN coalesce(reserved_at, queued_at)
                                             ELSE coalesce(queued_at, reserved_at) END)::float8 * 1000) AS p95_ms
FROM attempts
WHERE at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s + 600) AND at <= %(now)s
  AND done_at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s) AND done_at <= %(now)s
  AND success AND NOT cached
GROUP BY deployment HAVING count(*) >= %(minimum_calls)s

-- name: cached_calls
SELECT count(*) AS calls, count(*) FILTER (WHERE cached) AS cached
FROM attempts
WHERE at > %(now)s::timestamptz - make_interval(secs => %(window_seconds)s) AND at <= %(now)s
  AND success

-- name: episodes
SELECT rule, scope, "window", severity, since, seen_at, told_at, acted FROM episodes
ORDER BY rule, scope, "window"

-- name: put_episode
INSERT INTO episodes (key, rule, scope, "window", severity, since, seen_at, told_at, acted)
VALUES (%(key)s, %(rule)s, %(scope)s, %(window)s, %(severity)s, %(at)s, %(at)s, %(at)s, %(acted)s)
ON CONFLICT (key) DO UPDATE SET
    severity = CASE WHEN episodes.severity = 'critical' THEN 'critical' ELSE excluded.severity END,
    since = least(episodes.since, excluded.since),
    seen_at = greatest(episodes.seen_at, excluded.seen_at),
    told_at = CASE WHEN %(told)s THEN greatest(episodes.told_at, excluded.told_at) ELSE episodes.told_at END,
    acted = episodes.acted OR excluded.acted

-- name: end_episode
DELETE FROM episodes WHERE key = %(key)s
