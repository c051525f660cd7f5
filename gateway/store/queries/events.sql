-- name: insert_alert
INSERT INTO events (key, rule, scope, evidence, state, severity)
VALUES (%(key)s, %(rule)s, %(scope)s, %(evidence)s::jsonb, %(state)s, %(severity)s)
ON CONFLICT DO NOTHING
RETURNING key

-- name: alerts
SELECT key, rule, scope, evidence, at, state, severity FROM events
WHERE at >= coalesce(%(since)s::timestamptz, '-infinity') AND rule = coalesce(%(rule)s::text, rule)
ORDER BY at DESC, key LIMIT %(limit)s

-- name: switch_changes
SELECT name, old, new, expires_at, at FROM switch_events
WHERE name = coalesce(%(name)s::text, name)
ORDER BY at DESC, epoch DESC, seq DESC LIMIT %(limit)s

-- name: insert_audit
INSERT INTO audit (actor, action, target, detail)
VALUES (%(actor)s, %(action)s, %(target)s, %(detail)s::jsonb)

-- name: audit_log
SELECT actor, action, target, detail, at FROM audit ORDER BY id DESC LIMIT %(limit)s
