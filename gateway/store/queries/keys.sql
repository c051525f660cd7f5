-- Writers of keys take turns, so that versions are seen in the order in which they are counted; readers
-- do not wait.
-- name: lock_keys
LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE

-- name: keys_now
SELECT coalesce(max(version), 0) AS version, now() AS at FROM api_keys

-- name: key_of_name
SELECT id FROM api_keys WHERE name = %(name)s AND revoked_at IS NULL AND id <> %(id)s

-- name: insert_key
INSERT INTO api_keys (id, name, agent, team, user_id, tiers, models, rate_tier, roles, tags, created_by,
                      expires_at, version)
VALUES (%(id)s, %(name)s, %(agent)s, %(team)s, %(user)s, %(tiers)s::text[], %(models)s::text[],
        %(rate_tier)s, %(roles)s::text[], %(tags)s::jsonb, %(by)s, %(expires_at)s::timestamptz, %(version)s)
ON CONFLICT (id) DO NOTHING

-- name: insert_key_token
INSERT INTO api_key_tokens (prefix, key_id, digest, secret_id, created_by)
VALUES (%(prefix)s, %(id)s, %(digest)s, %(secret_id)s, %(by)s)
ON CONFLICT (prefix) DO UPDATE SET prefix = excluded.prefix WHERE api_key_tokens.digest = excluded.digest
RETURNING prefix

-- name: end_other_tokens
UPDATE api_key_tokens
SET ends_at = least(ends_at, now() + make_interval(secs => %(seconds)s::double precision))
WHERE key_id = %(id)s AND prefix <> %(prefix)s

-- name: end_token
UPDATE api_key_tokens SET ends_at = least(ends_at, now())
WHERE key_id = %(id)s AND prefix = %(prefix)s
RETURNING prefix

-- name: touch_key
UPDATE api_keys SET version = %(version)s,
    expires_at = coalesce(%(expires_at)s::timestamptz, expires_at)
WHERE id = %(id)s AND revoked_at IS NULL
RETURNING id

-- name: revoke_key
UPDATE api_keys SET revoked_at = now(), revoked_by = %(by)s, version = %(version)s
WHERE id = %(id)s AND revoked_at IS NULL
RETURNING id

-- name: freeze_key
UPDATE api_keys SET frozen_at = coalesce(frozen_at, now()), frozen_by = %(by)s, frozen_with_team = false,
    version = %(version)s
WHERE id = %(id)s AND revoked_at IS NULL
RETURNING id

-- name: freeze_team
UPDATE api_keys SET frozen_at = now(), frozen_by = %(by)s, frozen_with_team = true, version = %(version)s
WHERE team = %(team)s AND revoked_at IS NULL AND frozen_at IS NULL
RETURNING id

-- name: unfreeze_key
UPDATE api_keys SET frozen_at = NULL, frozen_by = '', frozen_with_team = false, version = %(version)s
WHERE id = %(id)s AND frozen_at IS NOT NULL
RETURNING id

-- name: unfreeze_team
UPDATE api_keys SET frozen_at = NULL, frozen_by = '', frozen_with_team = false, version = %(version)s
WHERE team = %(team)s AND frozen_at IS NOT NULL AND frozen_with_team
RETURNING id

-- name: keys_since
SELECT id, name, agent, team, user_id AS user, tiers, models, rate_tier, roles, tags, created_by, created_at,
       expires_at, frozen_at, frozen_by, frozen_with_team, revoked_at, revoked_by, last_used_at, version
FROM api_keys WHERE version > %(version)s ORDER BY created_at, id

-- name: keys_by_id
SELECT id, name, agent, team, user_id AS user, tiers, models, rate_tier, roles, tags, created_by, created_at,
       expires_at, frozen_at, frozen_by, frozen_with_team, revoked_at, revoked_by, last_used_at, version
FROM api_keys WHERE id = ANY(%(ids)s::text[]) ORDER BY created_at, id

-- name: tokens_of_keys
SELECT prefix, key_id, digest, secret_id, created_by, created_at, ends_at
FROM api_key_tokens WHERE key_id = ANY(%(ids)s::text[]) ORDER BY created_at, prefix

-- name: find_key
SELECT id FROM api_keys WHERE id = %(text)s OR (name = %(text)s AND revoked_at IS NULL)
UNION
SELECT key_id FROM api_key_tokens WHERE prefix = %(text)s

-- Coarse on purpose: a row is written once in five minutes at most, and does not count as a change.
-- name: keys_used
UPDATE api_keys SET last_used_at = date_trunc('minute', now())
WHERE id = ANY(%(ids)s::text[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '5 minutes')

-- name: insert_server_secret
INSERT INTO server_secrets (name, secret) VALUES (%(name)s, %(secret)s)
ON CONFLICT DO NOTHING

-- name: server_secret
SELECT secret FROM server_secrets WHERE name = %(name)s
