-- name: get_attempt
SELECT * FROM attempts WHERE attempt_id = %(attempt_id)s

-- name: attempts_of_call
SELECT * FROM attempts WHERE attempt_id >= %(first)s AND attempt_id < %(end)s ORDER BY number

-- name: attempts_of_run
SELECT * FROM attempts WHERE run_id = %(run_id)s AND run_id <> '' ORDER BY step, at, attempt_id LIMIT %(limit)s

-- name: recent_attempts
SELECT * FROM attempts
WHERE at >= coalesce(%(since)s::timestamptz, now() - interval '1 hour')
ORDER BY at DESC LIMIT %(limit)s

-- name: open_attempts
SELECT * FROM attempts
WHERE state IN ('pending', 'in_doubt') AND state = ANY(%(states)s::text[]) AND attempt_id > %(after)s
ORDER BY attempt_id LIMIT %(limit)s

-- name: direct_attempts
SELECT * FROM attempts WHERE closed_epoch = 0 AND state IN ('settled', 'released')
ORDER BY settled_at LIMIT %(limit)s

-- name: confirm_attempts
UPDATE attempts SET closed_epoch = %(epoch)s
WHERE attempt_id = ANY(%(ids)s::text[]) AND closed_epoch = 0

-- name: mark_replayed
UPDATE attempts SET replayed = true WHERE attempt_id = %(attempt_id)s AND NOT replayed

-- A settle posting counts its attempt, an adjustment only its money.
-- name: spend
SELECT /* dimension */ a.agent AS name,
       sum(l.amount_nano_usd)::bigint AS cost_nano_usd,
       count(*) FILTER (WHERE l.kind = 'settle') AS attempts,
       count(*) FILTER (WHERE l.kind = 'settle' AND a.success IS NOT TRUE) AS errors,
       coalesce(sum(a.input_tokens) FILTER (WHERE l.kind = 'settle'), 0)::bigint AS input_tokens,
       coalesce(sum(a.output_tokens) FILTER (WHERE l.kind = 'settle'), 0)::bigint AS output_tokens,
       coalesce(sum(a.cache_read_tokens) FILTER (WHERE l.kind = 'settle'), 0)::bigint AS cache_read_tokens,
       coalesce(sum(a.cache_write_tokens) FILTER (WHERE l.kind = 'settle'), 0)::bigint AS cache_write_tokens
FROM ledger AS l JOIN attempts AS a ON a.attempt_id = l.attempt_id
WHERE l.at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND l.at < coalesce(%(until)s::timestamptz, 'infinity')
GROUP BY 1
ORDER BY cost_nano_usd DESC, name
LIMIT %(limit)s

-- name: totals
SELECT (SELECT coalesce(sum(amount_nano_usd), 0)::bigint FROM ledger) AS ledger_nano_usd,
       coalesce(sum(reserved_nano_usd) FILTER (WHERE state = 'in_doubt'), 0)::bigint AS in_doubt_nano_usd,
       coalesce(sum(reserved_nano_usd) FILTER (WHERE state = 'pending'), 0)::bigint AS pending_nano_usd,
       (SELECT count(*) FROM ledger WHERE kind = 'settle') AS attempts,
       count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
       count(*) FILTER (WHERE state = 'pending') AS pending
FROM attempts WHERE state IN ('pending', 'in_doubt')

-- name: in_doubt
SELECT count(*) AS calls, coalesce(sum(reserved_nano_usd), 0)::bigint AS bound_nano_usd
FROM attempts WHERE state = 'in_doubt'

-- name: booked
SELECT a.attempt_id, a.provider, a.state, a.basis, a.reserved_nano_usd, a.counters,
       coalesce(a.day, a.at::date)::text AS day,
       (coalesce(s.amount_nano_usd, 0) + coalesce(j.amount, 0))::bigint AS ledger_nano_usd,
       coalesce(j.postings, 0) AS adjustments
FROM attempts AS a
LEFT JOIN ledger AS s ON s.attempt_id = a.attempt_id AND s.kind = 'settle'
LEFT JOIN LATERAL (
    SELECT sum(amount_nano_usd)::bigint AS amount, count(*) AS postings
    FROM ledger WHERE attempt_id = a.attempt_id AND kind = 'adjust'
) AS j ON true
WHERE a.attempt_id = ANY(%(ids)s::text[])

-- name: all_booked
SELECT a.attempt_id, a.provider, a.state, a.basis, a.reserved_nano_usd, a.counters,
       coalesce(a.day, a.at::date)::text AS day,
       (coalesce(s.amount_nano_usd, 0) + coalesce(j.amount, 0))::bigint AS ledger_nano_usd,
       coalesce(j.postings, 0) AS adjustments
FROM attempts AS a
LEFT JOIN ledger AS s ON s.attempt_id = a.attempt_id AND s.kind = 'settle'
LEFT JOIN LATERAL (
    SELECT sum(amount_nano_usd)::bigint AS amount, count(*) AS postings
    FROM ledger WHERE attempt_id = a.attempt_id AND kind = 'adjust'
) AS j ON true
WHERE a.attempt_id > %(after)s AND a.state <> 'refused'
ORDER BY a.attempt_id LIMIT %(limit)s

-- name: spent_by_counter
SELECT c.counter, sum(l.amount_nano_usd)::bigint AS amount
FROM ledger AS l
LEFT JOIN attempts AS a ON a.attempt_id = l.attempt_id
CROSS JOIN LATERAL unnest(coalesce(l.counters, a.counters)) AS c (counter)
WHERE c.counter = ANY(%(counters)s::text[])
   OR substring(c.counter FROM '[^|]*$') = ANY(%(windows)s::text[])
GROUP BY c.counter

-- name: open_by_counter
SELECT c.counter,
       coalesce(sum(a.reserved_nano_usd) FILTER (WHERE a.state = 'pending'), 0)::bigint AS pending,
       coalesce(sum(a.reserved_nano_usd) FILTER (WHERE a.state = 'in_doubt'), 0)::bigint AS in_doubt
FROM attempts AS a CROSS JOIN LATERAL unnest(a.counters) AS c (counter)
WHERE a.state IN ('pending', 'in_doubt')
GROUP BY c.counter
