-- name: note_backup
INSERT INTO backup_logs (started_at, finished_at, kind, location, size_bytes, success, error_message)
VALUES (%(started_at)s, %(finished_at)s, %(kind)s, %(location)s, %(size_bytes)s, %(success)s, %(error_message)s)

-- The newest of all, and when the newest that went well began.
-- name: last_backup
SELECT started_at, success, error_message, kind, location,
       (SELECT max(started_at) FROM backup_logs WHERE success) AS good_at,
       extract(epoch FROM now() - (SELECT max(started_at) FROM backup_logs WHERE success))::float AS good_age_seconds
FROM backup_logs ORDER BY started_at DESC, id DESC LIMIT 1
