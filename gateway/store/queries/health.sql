-- name: insert_probes
INSERT INTO probes (provider, deployment, at, kind, ok, blame, latency_ms, error)
SELECT p.provider, p.deployment, p.at, p.kind, p.ok, p.blame, p.latency_ms, p.error
FROM json_populate_recordset(NULL::probes, %(rows)s::json) AS p
ON CONFLICT DO NOTHING

-- name: probed_in_slot
SELECT provider, deployment FROM probes WHERE at = %(at)s

-- name: recent_probes
SELECT t.provider, t.deployment, p.at, p.kind, p.ok, p.blame, p.latency_ms, p.error
FROM unnest(%(providers)s::text[], %(deployments)s::text[]) AS t (provider, deployment)
CROSS JOIN LATERAL (
    SELECT * FROM probes
    WHERE provider = t.provider AND deployment = t.deployment AND at <= %(at)s
    ORDER BY at DESC LIMIT %(limit)s
) AS p
ORDER BY t.provider, t.deployment, p.at DESC

-- Attempts since the provider last recovered, within the window; a call lasts some minutes at most.
-- name: call_outcomes
SELECT a.provider, count(*) AS calls, count(*) FILTER (WHERE a.error_type = ANY(%(faults)s::text[])) AS errors
FROM attempts AS a LEFT JOIN provider_health AS h ON h.provider = a.provider AND h.deployment = ''
WHERE a.at >= now() - make_interval(secs => %(window)s) - interval '15 minutes'
  AND a.done_at >= greatest(now() - make_interval(secs => %(window)s), h.recovered_at)
  AND a.agent <> %(besides)s
  AND (a.success OR a.error_type = ANY(%(faults)s::text[]) OR a.error_type = ANY(%(answers)s::text[]))
GROUP BY a.provider

-- name: provider_health
SELECT provider, deployment, status, reason, since, recovered_at, relapses, checked_at, latency_ms
FROM provider_health ORDER BY provider, deployment

-- A slot that was judged, or one before it, changes nothing any more.
-- name: hold_health
INSERT INTO provider_health AS h
    (provider, deployment, status, reason, since, recovered_at, relapses, checked_at, latency_ms)
VALUES (%(provider)s, %(deployment)s, %(status)s, %(reason)s, %(since)s, %(recovered_at)s, %(relapses)s,
        %(checked_at)s, %(latency_ms)s)
ON CONFLICT (provider, deployment) DO UPDATE SET
    status = excluded.status, reason = excluded.reason, since = excluded.since,
    recovered_at = excluded.recovered_at, relapses = excluded.relapses,
    checked_at = excluded.checked_at, latency_ms = excluded.latency_ms
WHERE h.checked_at IS NULL OR h.checked_at < excluded.checked_at
RETURNING provider
