-- name: begin_snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: ping
SELECT 1 AS pong

-- name: try_advisory_lock
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: end_idle_session
SET idle_session_timeout = '60s'

-- The session goes back to the pool as it was.
-- name: release_advisory_lock
SELECT pg_advisory_unlock(%(key)s), set_config('idle_session_timeout', '0', false)
