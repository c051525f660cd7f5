-- name: begin_snapshot
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: ping
SELECT 1 AS pong

-- name: try_advisory_lock
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: release_advisory_lock
SELECT pg_advisory_unlock(%(key)s)
