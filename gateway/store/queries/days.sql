-- Every counter of one window, by the books alone and at one instant. The days are those whose postings
-- may belong to the window: one more on each side, for what was booked without a day.
-- name: window_sums
WITH booked AS (
    SELECT c.counter, l.amount_nano_usd AS spent
    FROM ledger AS l
    LEFT JOIN attempts AS a ON a.attempt_id = l.attempt_id
    CROSS JOIN LATERAL unnest(coalesce(l.counters, a.counters)) AS c (counter)
    WHERE l.day >= %(first_day)s::date - 1 AND l.day <= %(last_day)s::date + 1
      AND right(c.counter, length(%(suffix)s)) = %(suffix)s
), open AS (
    SELECT c.counter, a.state, a.reserved_nano_usd AS amount
    FROM attempts AS a CROSS JOIN LATERAL unnest(a.counters) AS c (counter)
    WHERE a.state IN ('pending', 'in_doubt') AND right(c.counter, length(%(suffix)s)) = %(suffix)s
), topped AS (
    SELECT counter, amount_nano_usd AS amount FROM top_ups
    WHERE right(counter, length(%(suffix)s)) = %(suffix)s
), refused AS (
    SELECT (refusal ->> 'scope') || %(suffix)s AS counter,
           CASE WHEN refusal ->> 'period' = %(period)s THEN (refusal ->> 'limit_nano_usd')::bigint END AS told
    FROM attempts
    WHERE state = 'refused' AND at >= %(start)s AND at < %(end)s
      AND coalesce(refusal ->> 'scope', '') <> ''
      AND coalesce(refusal ->> 'period', '') IN ('', %(period)s)
)
SELECT counter, sum(spent)::bigint AS spent_nano_usd, sum(held)::bigint AS held_nano_usd,
       sum(in_doubt)::bigint AS in_doubt_nano_usd, sum(topped)::bigint AS topped_nano_usd,
       sum(refusals)::int AS refusals, max(told) AS told_limit_nano_usd
FROM (
    SELECT counter, spent, 0 AS held, 0 AS in_doubt, 0 AS topped, 0 AS refusals,
           NULL::bigint AS told FROM booked
    UNION ALL
    SELECT counter, 0, CASE WHEN state = 'pending' THEN amount ELSE 0 END,
           CASE WHEN state = 'in_doubt' THEN amount ELSE 0 END, 0, 0, NULL FROM open
    UNION ALL
    SELECT counter, 0, 0, 0, amount, 0, NULL FROM topped
    UNION ALL
    SELECT counter, 0, 0, 0, 0, 1, told FROM refused
) AS every
GROUP BY counter
ORDER BY counter

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
