-- The first report of a period stays, unless it was preliminary.
-- name: put_report
INSERT INTO reports AS r (kind, period, first_day, last_day, version, preliminary, document, made_at)
VALUES (%(kind)s, %(period)s, %(first_day)s, %(last_day)s, %(version)s, %(preliminary)s,
        %(document)s::json, %(made_at)s)
ON CONFLICT (kind, period) DO UPDATE SET
    first_day = excluded.first_day, last_day = excluded.last_day, version = excluded.version,
    preliminary = excluded.preliminary, document = excluded.document, made_at = excluded.made_at
WHERE r.preliminary

-- name: get_report
SELECT kind, period, first_day, last_day, version, preliminary, document, made_at
FROM reports WHERE kind = %(kind)s AND period = %(period)s

-- name: list_reports
SELECT kind, period, first_day, last_day, version, preliminary, made_at FROM reports
WHERE kind = coalesce(%(kind)s::text, kind)
ORDER BY last_day DESC, kind LIMIT %(limit)s

-- Whoever claims delivers; another's claim lapses when nothing is heard of it.
-- name: claim_report_delivery
INSERT INTO report_deliveries AS d (kind, period, channel, owner, tries)
VALUES (%(kind)s, %(period)s, %(channel)s, %(owner)s, 1)
ON CONFLICT (kind, period, channel) DO UPDATE SET
    owner = excluded.owner, tries = d.tries + 1, claimed_at = now()
WHERE d.delivered_at IS NULL
  AND (d.owner IN ('', excluded.owner) OR d.claimed_at < now() - make_interval(secs => %(lapses)s))
RETURNING tries

-- name: report_delivery
SELECT kind, period, channel, tries, error, delivered_at FROM report_deliveries
WHERE kind = %(kind)s AND period = %(period)s AND channel = %(channel)s

-- name: report_delivered
UPDATE report_deliveries SET delivered_at = coalesce(delivered_at, now()), error = ''
WHERE kind = %(kind)s AND period = %(period)s AND channel = %(channel)s

-- name: report_not_delivered
UPDATE report_deliveries SET error = %(error)s, owner = ''
WHERE kind = %(kind)s AND period = %(period)s AND channel = %(channel)s AND delivered_at IS NULL
