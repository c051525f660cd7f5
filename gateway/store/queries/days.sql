-- What was booked on one accounting day, for the counters of a window.
-- name: window_spent
SELECT c.counter, sum(l.amount_nano_usd)::bigint AS amount
FROM ledger AS l
LEFT JOIN attempts AS a ON a.attempt_id = l.attempt_id
CROSS JOIN LATERAL unnest(coalesce(l.counters, a.counters)) AS c (counter)
WHERE l.day = %(day)s AND right(c.counter, length(%(suffix)s)) = %(suffix)s
GROUP BY c.counter

-- name: window_open
SELECT c.counter,
       coalesce(sum(a.reserved_nano_usd) FILTER (WHERE a.state = 'pending'), 0)::bigint AS held,
       coalesce(sum(a.reserved_nano_usd) FILTER (WHERE a.state = 'in_doubt'), 0)::bigint AS in_doubt
FROM attempts AS a CROSS JOIN LATERAL unnest(a.counters) AS c (counter)
WHERE a.state IN ('pending', 'in_doubt') AND right(c.counter, length(%(suffix)s)) = %(suffix)s
GROUP BY c.counter

-- name: window_topped
SELECT counter, sum(amount_nano_usd)::bigint AS amount FROM top_ups
WHERE right(counter, length(%(suffix)s)) = %(suffix)s
GROUP BY counter

-- name: window_refusals
SELECT (refusal ->> 'scope') || %(suffix)s AS counter, count(*)::int AS refusals,
       max((refusal ->> 'limit_nano_usd')::bigint) FILTER (WHERE refusal ->> 'period' = %(period)s) AS told
FROM attempts
WHERE state = 'refused' AND at >= %(start)s AND at < %(end)s
  AND coalesce(refusal ->> 'scope', '') <> '' AND coalesce(refusal ->> 'period', '') IN ('', %(period)s)
GROUP BY refusal ->> 'scope'

-- name: pending_in_window
SELECT count(*) AS attempts FROM attempts AS a
WHERE a.state = 'pending'
  AND EXISTS (SELECT FROM unnest(a.counters) AS c (counter)
              WHERE right(c.counter, length(%(suffix)s)) = %(suffix)s)

-- A preliminary closing gives way, a real one stands.
-- name: close_window
INSERT INTO days AS d (period, window_id, start_at, end_at, preliminary, spent_nano_usd, verified, differences)
VALUES (%(period)s, %(window_id)s, %(start)s, %(end)s, %(preliminary)s, %(spent)s, %(verified)s, %(differences)s)
ON CONFLICT (period, window_id) DO UPDATE SET
    start_at = excluded.start_at, end_at = excluded.end_at, preliminary = excluded.preliminary,
    spent_nano_usd = excluded.spent_nano_usd, verified = excluded.verified, differences = excluded.differences,
    closed_at = now()
WHERE d.preliminary
RETURNING closed_at

-- name: forget_budget_windows
DELETE FROM budget_windows WHERE period = %(period)s AND window_id = %(window_id)s

-- name: insert_budget_windows
INSERT INTO budget_windows (period, window_id, scope, limit_nano_usd, topped_nano_usd, spent_nano_usd,
                            held_nano_usd, in_doubt_nano_usd, overrun_nano_usd, refusals)
SELECT %(period)s, %(window_id)s, b.scope, b.limit_nano_usd, b.topped_nano_usd, b.spent_nano_usd,
       b.held_nano_usd, b.in_doubt_nano_usd, b.overrun_nano_usd, b.refusals
FROM json_populate_recordset(NULL::budget_windows, %(rows)s::json) AS b

-- name: closed_window
SELECT period, window_id, start_at, end_at, preliminary, spent_nano_usd, verified, differences, closed_at
FROM days WHERE period = %(period)s AND window_id = %(window_id)s

-- name: closed_windows
SELECT period, window_id, start_at, end_at, preliminary, spent_nano_usd, verified, differences, closed_at
FROM days WHERE period = %(period)s AND window_id = ANY(%(window_ids)s::text[])
ORDER BY window_id

-- name: budget_windows
SELECT scope, limit_nano_usd, topped_nano_usd, spent_nano_usd, held_nano_usd, in_doubt_nano_usd,
       overrun_nano_usd, refusals
FROM budget_windows WHERE period = %(period)s AND window_id = %(window_id)s
ORDER BY scope

-- Accounting days on which something was booked.
-- name: days_booked
SELECT d.day FROM unnest(%(days)s::date[]) AS d (day)
WHERE EXISTS (SELECT FROM ledger AS l WHERE l.day = d.day)
ORDER BY d.day

-- name: record_work
INSERT INTO scheduled_work (kind, at, outcome) VALUES (%(kind)s, %(at)s, %(outcome)s::jsonb)
ON CONFLICT DO NOTHING
RETURNING done_at

-- name: work_done
SELECT kind, at, outcome, done_at FROM scheduled_work
WHERE kind = %(kind)s AND at = coalesce(%(at)s::timestamptz, at)
ORDER BY at DESC LIMIT %(limit)s
