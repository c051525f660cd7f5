-- A row is written again while its minute lasts; it only ever grows.
-- name: put_violations
INSERT INTO rate_limit_violations AS v
SELECT * FROM json_populate_recordset(NULL::rate_limit_violations, %(rows)s::json)
ON CONFLICT (id) DO UPDATE SET refused = excluded.refused, last_at = excluded.last_at
WHERE v.refused < excluded.refused

-- name: violations
SELECT minute, rule, scope, tier, agent, team, user_id AS user, key_id, address, endpoint, rate_limit,
       window_ms, refused, first_at, last_at
FROM rate_limit_violations
WHERE minute >= coalesce(%(since)s::timestamptz, '-infinity')
  AND scope = coalesce(%(scope)s::text, scope)
ORDER BY minute DESC, last_at DESC, id LIMIT %(limit)s
