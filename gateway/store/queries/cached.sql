-- name: find_cached
SELECT key, answer::text AS answer FROM cached_answers WHERE key = %(key)s AND expires_at > now()

-- Two that are over go with each that is kept, so that the table holds little more than what lives.
-- name: keep_cached
WITH gone AS (
    DELETE FROM cached_answers WHERE key IN (
        SELECT key FROM cached_answers WHERE expires_at <= now() AND key <> %(key)s
        ORDER BY expires_at LIMIT 2 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO cached_answers AS c (key, answer, expires_at)
VALUES (%(key)s, %(answer)s::json, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at

-- name: expire_cached
DELETE FROM cached_answers WHERE key IN (
    SELECT key FROM cached_answers WHERE expires_at <= now() ORDER BY expires_at LIMIT %(limit)s
)
RETURNING key

-- name: forget_cached
DELETE FROM cached_answers WHERE %(agent)s = '' OR answer ->> 'agent' = %(agent)s RETURNING key

-- name: lock_cached_vectors
SELECT pg_advisory_xact_lock(%(key)s)

-- name: make_vectors_possible
CREATE EXTENSION IF NOT EXISTS vector

-- Vectors go with their answers. No index on the vector itself: a partition holds few, and all are looked at.
-- name: make_cached_vectors
CREATE TABLE IF NOT EXISTS cached_vectors (
    key TEXT COLLATE "C" PRIMARY KEY REFERENCES cached_answers (key) ON DELETE CASCADE,
    partition TEXT COLLATE "C" NOT NULL,
    vector vector NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL
)

-- name: make_cached_vectors_index
CREATE INDEX IF NOT EXISTS cached_vectors_partition ON cached_vectors (partition, at)

-- The latest thousand of the partition are compared.
-- name: find_similar
SELECT c.key, c.answer::text AS answer
FROM (SELECT key, vector <=> %(vector)s::vector AS distance FROM cached_vectors
      WHERE partition = %(partition)s ORDER BY at DESC LIMIT 1000) AS v
JOIN cached_answers AS c ON c.key = v.key
WHERE v.distance <= %(distance)s AND c.expires_at > now()
ORDER BY v.distance LIMIT 1

-- name: keep_cached_vector
INSERT INTO cached_vectors AS v (key, partition, vector) VALUES (%(key)s, %(partition)s, %(vector)s::vector)
ON CONFLICT (key) DO UPDATE SET partition = excluded.partition, vector = excluded.vector, at = now()
