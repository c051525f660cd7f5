-- name: heartbeat
INSERT INTO processes (process_id) VALUES (%(process_id)s)
ON CONFLICT (process_id) DO UPDATE SET last_seen = now()

-- name: leave
DELETE FROM processes WHERE process_id = %(process_id)s

-- name: living_processes
SELECT process_id FROM processes WHERE last_seen > now() - make_interval(secs => %(seconds)s) ORDER BY process_id

-- name: wanted_epoch
SELECT epoch FROM epochs WHERE state = 'closed' ORDER BY epoch DESC LIMIT 1

-- name: want_epoch
INSERT INTO epochs (epoch, state, reason)
SELECT greatest(coalesce(max(epoch), 0) + 1, %(at_least)s::bigint), 'closed', %(reason)s FROM epochs
RETURNING epoch

-- name: claim
INSERT INTO claims (epoch, attempt_id, process_id)
SELECT %(epoch)s, id, %(process_id)s FROM unnest(%(ids)s::text[]) AS id
ON CONFLICT DO NOTHING

-- name: flushed
INSERT INTO processes AS p (process_id, flushed_epoch) VALUES (%(process_id)s, %(epoch)s)
ON CONFLICT (process_id) DO UPDATE
SET last_seen = now(), flushed_epoch = greatest(p.flushed_epoch, excluded.flushed_epoch)

-- name: unflushed
SELECT process_id FROM processes
WHERE last_seen > now() - make_interval(secs => %(seconds)s) AND flushed_epoch < %(epoch)s
ORDER BY process_id

-- name: doubt_unclaimed
UPDATE attempts AS a SET state = 'in_doubt', rank = 1, doubt_by = 'rebuild', in_doubt_at = now(),
                         closed_epoch = %(epoch)s, closed_seq = 0
WHERE a.state = 'pending'
  AND NOT EXISTS (SELECT FROM claims AS c WHERE c.epoch = %(epoch)s AND c.attempt_id = a.attempt_id)
RETURNING a.attempt_id

-- Sums of the postings of every counter that still matters. The floor is early enough for the
-- oldest of the windows and for the first posting of every run that may go on. Limits that came with
-- the calls, of runs and of agents' days, are known from the runs.
-- name: counters_for_rebuild
WITH floor AS (
    SELECT least(
        %(since)s::timestamptz,
        now() - interval '35 days',
        (SELECT min(started_at) FROM runs WHERE ended_at IS NULL OR ended_at > now() - interval '35 days')
    ) - interval '1 day' AS at
), postings AS (
    SELECT c.counter, l.amount_nano_usd, l.at
    FROM ledger AS l
    LEFT JOIN attempts AS a ON a.attempt_id = l.attempt_id
    CROSS JOIN LATERAL unnest(coalesce(l.counters, a.counters)) AS c (counter)
    WHERE l.at >= (SELECT at FROM floor)
), spent AS (
    SELECT counter, sum(amount_nano_usd)::bigint AS amount, max(at) AS last FROM postings GROUP BY counter
), open AS (
    SELECT DISTINCT c.counter FROM attempts AS a CROSS JOIN LATERAL unnest(a.counters) AS c (counter)
    WHERE a.state IN ('pending', 'in_doubt')
), topped AS (
    SELECT counter, sum(amount_nano_usd)::bigint AS amount, max(at) AS last FROM top_ups GROUP BY counter
), live AS (
    SELECT 'run:' || id || '|run|run' AS counter, budget_nano_usd, ended_at IS NULL AS goes_on FROM runs
    WHERE ended_at IS NULL OR ended_at > now() - interval '35 days'
), latest AS (
    SELECT DISTINCT ON (agent) id FROM runs
    WHERE started_at > now() - interval '35 days' ORDER BY agent, started_at DESC
), own AS (
    SELECT agent, (spec #>> '{agent,daily_budget_nano_usd}')::bigint AS budget_nano_usd
    FROM runs JOIN latest USING (id)
)
SELECT coalesce(spent.counter, topped.counter, open.counter, live.counter) AS counter,
       coalesce(spent.amount, 0) AS spent_nano_usd,
       coalesce(topped.amount, 0) AS topped_nano_usd,
       coalesce(live.budget_nano_usd, own.budget_nano_usd) AS default_limit_nano_usd
FROM spent
FULL JOIN topped ON topped.counter = spent.counter
FULL JOIN open ON open.counter = coalesce(spent.counter, topped.counter)
FULL JOIN live ON live.counter = coalesce(spent.counter, topped.counter, open.counter)
LEFT JOIN own
    ON own.agent = substring(coalesce(spent.counter, topped.counter, open.counter) FROM '^agent:(.*)[|]day[|]')
WHERE open.counter IS NOT NULL
   OR live.goes_on
   OR substring(coalesce(spent.counter, topped.counter, live.counter) FROM '[^|]*$') = ANY(%(windows)s::text[])
   OR (coalesce(spent.counter, topped.counter, live.counter) LIKE 'run:%%'
       AND greatest(spent.last, topped.last) > now() - interval '35 days')

-- name: open_for_rebuild
SELECT * FROM attempts
WHERE state IN ('pending', 'in_doubt') AND attempt_id ~ '#[0-9]+$' ORDER BY attempt_id

-- Also what was closed here alone, however long ago: its money is in the counters that are loaded.
-- name: closed_for_rebuild
SELECT attempt_id FROM attempts
WHERE at > now() - interval '4 days' AND settled_at > now() - interval '48 hours'
  AND state IN ('settled', 'released') AND attempt_id ~ '#[0-9]+$'
UNION
SELECT attempt_id FROM attempts
WHERE closed_epoch = 0 AND state IN ('settled', 'released') AND attempt_id ~ '#[0-9]+$'

-- name: top_ups_for_rebuild
SELECT top_up_id FROM top_ups WHERE at > now() - interval '40 days'

-- name: postings_for_rebuild
SELECT posting_id FROM ledger WHERE at > now() - interval '40 days' AND counters IS NOT NULL

-- name: switches_for_rebuild
SELECT name, new, coalesce(floor(extract(epoch FROM expires_at) * 1000), 0)::bigint AS ends_ms
FROM (SELECT DISTINCT ON (name) name, new, expires_at FROM switch_events
      ORDER BY name, at DESC, epoch DESC, seq DESC) AS last
WHERE new <> '' AND (expires_at IS NULL OR expires_at > now())

-- name: epoch_opened
WITH done AS (
    UPDATE epochs SET state = CASE WHEN epoch = %(epoch)s THEN 'open' ELSE 'abandoned' END,
                      opened_at = CASE WHEN epoch = %(epoch)s THEN now() END
    WHERE epoch <= %(epoch)s AND state = 'closed'
), gone AS (
    DELETE FROM processes WHERE last_seen < now() - interval '1 day'
)
DELETE FROM claims WHERE epoch <= %(epoch)s

-- name: newest_epoch
SELECT epoch, state FROM epochs ORDER BY epoch DESC LIMIT 1
