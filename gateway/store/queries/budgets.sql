-- Writers of budgets take turns; readers do not wait.
-- name: lock_budgets
LOCK TABLE policy_versions IN SHARE ROW EXCLUSIVE MODE

-- name: policy_now
SELECT coalesce(max(version), 0) AS version,
       coalesce((SELECT source FROM policy_versions ORDER BY version DESC LIMIT 1), '') AS source
FROM policy_versions

-- name: add_policy_version
INSERT INTO policy_versions (version, source, applied_by) VALUES (%(version)s, %(source)s, %(by)s)

-- name: delete_policy_rules
DELETE FROM budget_rules WHERE origin = 'policy' AND name <> ALL(%(keep)s::text[])

-- name: displace_rule
DELETE FROM budget_rules WHERE scope = %(scope)s AND period = %(period)s AND name <> %(name)s

-- name: put_rule
INSERT INTO budget_rules AS b (name, scope, period, limit_nano_usd, alert_threshold, auto_switch_enabled,
                               fallback_model, origin, version)
VALUES (%(name)s, %(scope)s, %(period)s, %(limit)s, %(threshold)s, %(auto_switch)s, %(fallback)s,
        %(origin)s, %(version)s)
ON CONFLICT (name) DO UPDATE SET
    scope = excluded.scope, period = excluded.period, limit_nano_usd = excluded.limit_nano_usd,
    alert_threshold = excluded.alert_threshold, auto_switch_enabled = excluded.auto_switch_enabled,
    fallback_model = excluded.fallback_model, origin = excluded.origin, version = excluded.version,
    updated_at = now()

-- name: delete_rule
DELETE FROM budget_rules WHERE name = %(name)s RETURNING name

-- name: budget_rules
SELECT name, scope, period, limit_nano_usd, alert_threshold, auto_switch_enabled, fallback_model, origin,
       version, created_at, updated_at
FROM budget_rules ORDER BY name

-- name: policy_history
SELECT version, source, applied_by, applied_at FROM policy_versions ORDER BY version DESC LIMIT %(limit)s

-- name: insert_top_up
INSERT INTO top_ups (top_up_id, counter, amount_nano_usd, by)
VALUES (%(id)s, %(counter)s, %(amount)s, %(by)s)
ON CONFLICT DO NOTHING
RETURNING top_up_id

-- name: top_up_sums
SELECT counter, sum(amount_nano_usd)::bigint AS amount FROM top_ups
WHERE %(counters)s::text[] IS NULL OR counter = ANY(%(counters)s::text[])
GROUP BY counter
