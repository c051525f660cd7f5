-- One pass over the period's hours; the cut says which of the sums a row is.
-- name: usage_figures
SELECT CASE WHEN GROUPING(agent) = 0 THEN 'agent' WHEN GROUPING(deployment) = 0 THEN 'model'
            WHEN GROUPING(team) = 0 THEN 'team' WHEN GROUPING(feature) = 0 THEN 'feature'
            WHEN GROUPING(hour) = 0 THEN 'hour' WHEN GROUPING(day) = 0 THEN 'day' ELSE '' END AS cut,
       coalesce(agent, deployment, team, feature, to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
                day::text, '') AS name,
       coalesce(sum(cost_nano_usd), 0)::bigint AS cost_nano_usd,
       coalesce(sum(attempts), 0)::bigint AS attempts,
       coalesce(sum(errors), 0)::bigint AS errors,
       coalesce(sum(refusals), 0)::bigint AS refusals,
       coalesce(sum(cached), 0)::bigint AS cached,
       coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
       coalesce(sum(cache_read_tokens), 0)::bigint AS cache_read_tokens,
       coalesce(sum(cache_write_tokens), 0)::bigint AS cache_write_tokens,
       coalesce(sum(saved_nano_usd), 0)::bigint AS saved_nano_usd
FROM usage_hours
WHERE day >= %(first_day)s AND day <= %(last_day)s
GROUP BY GROUPING SETS ((), (agent), (deployment), (team), (feature), (hour), (day))

-- The dearest users by name, and the others in one line (name NULL).
-- name: user_figures
WITH users AS (
    SELECT user_id AS name, sum(cost_nano_usd)::bigint AS cost_nano_usd, sum(attempts)::bigint AS attempts
    FROM usage_users WHERE day >= %(first_day)s AND day <= %(last_day)s GROUP BY user_id
), ranked AS (
    SELECT *, row_number() OVER (ORDER BY cost_nano_usd DESC, name) <= %(top)s AS shown FROM users
)
SELECT CASE WHEN shown THEN name END AS name, sum(cost_nano_usd)::bigint AS cost_nano_usd,
       sum(attempts)::bigint AS attempts, count(*) AS names
FROM ranked GROUP BY shown, CASE WHEN shown THEN name END
ORDER BY shown DESC, 2 DESC, 1

-- name: cost_of_users
SELECT user_id AS name, sum(cost_nano_usd)::bigint AS cost_nano_usd FROM usage_users
WHERE day >= %(first_day)s AND day <= %(last_day)s AND user_id = ANY(%(names)s::text[])
GROUP BY user_id

-- name: days_of_scopes
SELECT day, CASE WHEN GROUPING(agent) = 0 THEN 'agent:' || agent WHEN GROUPING(team) = 0 THEN 'team:' || team
                 ELSE 'global' END AS scope,
       sum(cost_nano_usd)::bigint AS cost_nano_usd
FROM usage_hours WHERE day >= %(first_day)s AND day <= %(last_day)s
GROUP BY GROUPING SETS ((day), (day, agent), (day, team))

-- name: first_day_of_usage
SELECT min(day) AS day FROM usage_hours

-- Money that was entered for completed tasks: the run's own tag, else its agent's value. What shadow
-- mode would have done is worth nothing; a child has its parent's tags, and they count once.
-- name: run_figures
SELECT agent, mode, status, count(*) AS runs, count(worth) AS valued,
       coalesce(sum(worth) FILTER (WHERE status = 'completed' AND mode <> 'shadow'), 0)::bigint AS value_nano_usd
FROM (
    SELECT agent, mode, status, coalesce(
        CASE WHEN parent = '' AND tags ->> 'value_usd' ~ '^[0-9]{1,7}([.][0-9]{1,9})?$'
             THEN round((tags ->> 'value_usd')::numeric * 1000000000) END,
        (spec #>> '{agent,value_per_task_nano_usd}')::numeric) AS worth
    FROM runs WHERE ended_at >= %(since)s AND ended_at < %(until)s
) AS ended
GROUP BY agent, mode, status

-- The cost is the ledger's: a doubt that was resolved after the run's end is not in its record.
-- name: ended_badly
SELECT id, coalesce(nullif(spec ->> 'workflow_id', ''), id) AS workflow_id, agent, status, reason,
       coalesce((SELECT sum(l.amount_nano_usd)::bigint FROM attempts AS a
                 JOIN ledger AS l ON l.attempt_id = a.attempt_id
                 WHERE a.run_id = runs.id AND a.run_id <> ''), cost_nano_usd) AS cost_nano_usd, ended_at AS at
FROM runs
WHERE ended_at >= %(since)s AND ended_at < %(until)s AND status = ANY(%(statuses)s::text[])
ORDER BY ended_at DESC, id LIMIT %(limit)s

-- name: escalations
SELECT e.run_id AS id, coalesce(nullif(r.spec ->> 'workflow_id', ''), e.run_id) AS workflow_id,
       coalesce(r.agent, '') AS agent, replace(e.kind, 'escalation_', '') AS kind, e.at,
       count(*) OVER () AS total
FROM run_events AS e LEFT JOIN runs AS r ON r.id = e.run_id
WHERE e.kind IN ('escalation_budget', 'escalation_approval', 'escalation_question')
  AND e.at >= %(since)s AND e.at < %(until)s
ORDER BY e.at DESC, e.id LIMIT %(limit)s

-- Names and counts: what the tool would have done is in the run's own record.
-- name: shadow_actions
SELECT coalesce(r.agent, '') AS agent, e.body ->> 'tool' AS tool, count(*) AS actions,
       count(DISTINCT e.run_id) AS runs
FROM run_events AS e LEFT JOIN runs AS r ON r.id = e.run_id
WHERE e.kind = 'shadow_action' AND e.at >= %(since)s AND e.at < %(until)s
GROUP BY 1, 2 ORDER BY actions DESC, 1, 2 LIMIT %(limit)s

-- name: alert_figures
SELECT rule, CASE WHEN starts_with(scope, 'run:') THEN 'run' ELSE scope END AS scope, count(*) AS alerts,
       min(at) AS first, max(at) AS last, (sum(count(*)) OVER ())::bigint AS total
FROM events
WHERE at >= %(since)s AND at < %(until)s AND state = 'firing' AND rule <> 'human_escalation'
GROUP BY 1, 2 ORDER BY alerts DESC, 1, 2 LIMIT %(limit)s

-- name: switch_figures
SELECT name, old, new, at, count(*) OVER () AS total FROM switch_events
WHERE at >= %(since)s AND at < %(until)s ORDER BY at DESC, epoch DESC, seq DESC LIMIT %(limit)s

-- name: refusal_figures
SELECT coalesce(nullif(refusal ->> 'kind', ''), error_type) AS kind,
       CASE WHEN starts_with(refusal ->> 'scope', 'run:') THEN 'run' ELSE coalesce(refusal ->> 'scope', '') END AS scope,
       count(*) AS refusals, (sum(count(*)) OVER ())::bigint AS total
FROM attempts
WHERE at >= %(since)s AND at < %(until)s AND success = false AND state = 'refused'
GROUP BY 1, 2 ORDER BY refusals DESC, 1, 2 LIMIT %(limit)s

-- Those that failed, and those of which nobody knows yet.
-- name: error_figures
WITH failed AS (
    SELECT coalesce(nullif(error_type, ''), nullif(status, ''), state) AS type, provider
    FROM attempts
    WHERE at >= %(since)s AND at < %(until)s AND success = false AND state IN ('settled', 'released', 'in_doubt')
    UNION ALL
    SELECT coalesce(nullif(error_type, ''), nullif(status, ''), state), provider
    FROM attempts
    WHERE at >= %(since)s AND at < %(until)s AND success IS NULL AND state = 'in_doubt'
)
SELECT type, provider, count(*) AS errors, (sum(count(*)) OVER ())::bigint AS total
FROM failed GROUP BY 1, 2 ORDER BY errors DESC, 1, 2 LIMIT %(limit)s

-- What is not settled: at most the bound.
-- name: open_figures
SELECT count(*) AS attempts, coalesce(sum(reserved_nano_usd), 0)::bigint AS bound_nano_usd,
       coalesce(sum(estimate_nano_usd), 0)::bigint AS estimate_nano_usd
FROM attempts WHERE state IN ('pending', 'in_doubt') AND at >= %(since)s AND at < %(until)s

-- Budgets of closed days together; days: how many of them were closed.
-- name: budget_figures
SELECT scope, CASE WHEN bool_and(limit_nano_usd IS NOT NULL) THEN sum(limit_nano_usd)::bigint END AS limit_nano_usd,
       sum(spent_nano_usd)::bigint AS spent_nano_usd, sum(overrun_nano_usd)::bigint AS overrun_nano_usd,
       sum(refusals)::bigint AS refusals
FROM budget_windows WHERE period = 'day' AND window_id = ANY(%(days)s::text[])
GROUP BY scope

-- name: closed_days
SELECT window_id FROM days
WHERE period = 'day' AND window_id = ANY(%(days)s::text[]) AND (%(preliminary)s OR NOT preliminary)

-- name: last_reconciliation
SELECT hour, at, ledger_nano_usd, invoice_nano_usd, differences FROM reconciliations
WHERE at <= %(until)s ORDER BY hour DESC LIMIT 1
