-- Everything of a provider that is in doubt, or was settled at its estimate, and may be decided yet.
-- name: undecided_attempts
SELECT * FROM attempts AS a
WHERE provider = %(provider)s AND at >= %(since)s AND at < %(until)s
  AND (state = 'in_doubt' OR (state = 'settled' AND basis = 'estimate'))
  AND NOT EXISTS (SELECT FROM batches AS b WHERE b.attempt_id = a.attempt_id
                  AND b.state IN ('opening', 'held', 'sending', 'sent') AND b.created_at > now() - interval '7 days')
ORDER BY at, attempt_id LIMIT %(limit)s

-- What was sent to a provider, or may have been; what was only observed went there under another key. A batch of
-- which nobody knows what it came to may be at work for a day.
-- name: sent_attempts
SELECT attempt_id, model, deployment, at,
       CASE WHEN starts_with(attempt_id, 'batch:') AND NOT (state = 'settled' AND basis <> 'estimate')
            THEN greatest(coalesce(done_at, in_doubt_at, settled_at, at), at + interval '1 day')
            ELSE coalesce(done_at, in_doubt_at, settled_at, at) END AS ended_at,
       state, basis, success, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
       reserved_nano_usd, estimate_nano_usd
FROM attempts
WHERE provider = %(provider)s AND at >= %(since)s::timestamptz - interval '26 hours' AND at < %(until)s
  AND (at >= %(since)s OR starts_with(attempt_id, 'batch:'))
  AND state IN ('pending', 'in_doubt', 'settled') AND basis <> 'observed'
ORDER BY at, attempt_id LIMIT %(limit)s

-- What the books have of a stretch of time, by model. Attempts that reach over its edges may or may not be
-- counted there by the provider: `inside` is without them, `touching` with them. open_nano_usd: at most that
-- much may come yet.
-- name: sums_of_stretch
WITH sent AS (
    SELECT a.*, coalesce(s.amount_nano_usd, 0) + coalesce(j.amount, 0) AS ledger_nano_usd,
           a.at >= %(since)s::timestamptz + %(margin)s AND a.ended_at < %(until)s::timestamptz - %(margin)s AS inside,
           a.state = 'settled' AND a.basis <> 'estimate' AS known
    FROM (
        SELECT *,
               CASE WHEN starts_with(attempt_id, 'batch:') AND NOT (state = 'settled' AND basis <> 'estimate')
                    THEN greatest(coalesce(done_at, in_doubt_at, settled_at, at), at + interval '1 day')
                    ELSE coalesce(done_at, in_doubt_at, settled_at, at) END AS ended_at
        FROM attempts
        WHERE provider = %(provider)s AND state IN ('pending', 'in_doubt', 'settled') AND basis <> 'observed'
          AND at >= %(since)s::timestamptz - interval '26 hours' AND at < %(until)s::timestamptz + %(margin)s
          AND (at >= %(since)s::timestamptz - interval '1 hour' OR starts_with(attempt_id, 'batch:'))
    ) AS a
    LEFT JOIN ledger AS s ON s.attempt_id = a.attempt_id AND s.kind = 'settle'
    LEFT JOIN LATERAL (
        SELECT sum(amount_nano_usd)::bigint AS amount FROM ledger
        WHERE attempt_id = a.attempt_id AND kind = 'adjust'
    ) AS j ON true
    WHERE a.ended_at >= %(since)s::timestamptz - %(margin)s
)
SELECT model,
       coalesce(sum(input_tokens) FILTER (WHERE known), 0)::bigint AS input_touching,
       coalesce(sum(output_tokens) FILTER (WHERE known), 0)::bigint AS output_touching,
       coalesce(sum(cache_read_tokens) FILTER (WHERE known), 0)::bigint AS cache_read_touching,
       coalesce(sum(cache_write_tokens) FILTER (WHERE known), 0)::bigint AS cache_write_touching,
       coalesce(sum(input_tokens) FILTER (WHERE known AND inside), 0)::bigint AS input_inside,
       coalesce(sum(output_tokens) FILTER (WHERE known AND inside), 0)::bigint AS output_inside,
       coalesce(sum(cache_read_tokens) FILTER (WHERE known AND inside), 0)::bigint AS cache_read_inside,
       coalesce(sum(cache_write_tokens) FILTER (WHERE known AND inside), 0)::bigint AS cache_write_inside,
       coalesce(sum(reserved_nano_usd) FILTER (WHERE NOT known), 0)::bigint AS open_nano_usd,
       coalesce(sum(ledger_nano_usd), 0)::bigint AS ledger_touching,
       coalesce(sum(ledger_nano_usd) FILTER (WHERE inside), 0)::bigint AS ledger_inside
FROM sent GROUP BY model ORDER BY model

-- name: put_unattributed
INSERT INTO unattributed_usage AS u
    (provider, model, day, exclusive, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
     amount_nano_usd)
VALUES (%(provider)s, %(model)s, %(day)s, %(exclusive)s, %(input)s, %(output)s, %(cache_read)s,
        %(cache_write)s, %(amount)s)
ON CONFLICT (provider, model, day) DO UPDATE SET
    exclusive = excluded.exclusive, input_tokens = excluded.input_tokens,
    output_tokens = excluded.output_tokens, cache_read_tokens = excluded.cache_read_tokens,
    cache_write_tokens = excluded.cache_write_tokens, amount_nano_usd = excluded.amount_nano_usd,
    seen_at = now()

-- What the books can explain now is nobody's riddle any more.
-- name: keep_unattributed
DELETE FROM unattributed_usage
WHERE provider = %(provider)s AND day = %(day)s AND model <> ALL(%(models)s::text[])

-- name: unattributed
SELECT provider, model, day, exclusive, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
       amount_nano_usd, seen_at
FROM unattributed_usage WHERE day >= %(first)s AND day <= %(last)s
ORDER BY day, provider, model

-- name: put_provider_costs
INSERT INTO provider_costs AS c (provider, day, billed_nano_usd, ledger_nano_usd, tolerance_nano_usd)
VALUES (%(provider)s, %(day)s, %(billed)s, %(ledger)s, %(tolerance)s)
ON CONFLICT (provider, day) DO UPDATE SET
    billed_nano_usd = excluded.billed_nano_usd, ledger_nano_usd = excluded.ledger_nano_usd,
    tolerance_nano_usd = excluded.tolerance_nano_usd, seen_at = now()

-- name: provider_costs
SELECT provider, day, billed_nano_usd, ledger_nano_usd, tolerance_nano_usd, seen_at
FROM provider_costs WHERE day >= %(first)s AND day <= %(last)s ORDER BY day, provider

-- name: keep_reconciliation
INSERT INTO reconciliations
    (hour, ledger_nano_usd, invoice_nano_usd, in_doubt_nano_usd, pending_nano_usd, unattributed_nano_usd,
     settled, adjusted, adopted, left_open, counters, differences, detail)
VALUES (%(hour)s, %(ledger_nano_usd)s, %(invoice_nano_usd)s, %(in_doubt_nano_usd)s, %(pending_nano_usd)s,
        %(unattributed_nano_usd)s, %(settled)s, %(adjusted)s, %(adopted)s, %(left_open)s, %(counters)s,
        %(differences)s, %(detail)s::jsonb)
ON CONFLICT DO NOTHING

-- name: get_reconciliation
SELECT * FROM reconciliations WHERE hour = %(hour)s

-- name: last_reconciliations
SELECT * FROM reconciliations WHERE hour < coalesce(%(before)s::timestamptz, 'infinity')
ORDER BY hour DESC LIMIT %(limit)s
