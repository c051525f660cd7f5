-- Two processes that begin at once know the same target.
-- name: set_trace_targets
WITH gone AS (
    DELETE FROM trace_targets WHERE name <> ALL(%(names)s::text[])
), forgotten AS (
    DELETE FROM trace_outbox WHERE target <> ALL(%(names)s::text[])
)
INSERT INTO trace_targets (name) SELECT unnest(%(names)s::text[]) ON CONFLICT DO NOTHING

-- Marks what there is to tell of these subjects, where there is anybody to tell.
-- name: mark_traces
INSERT INTO trace_outbox (target, subject, mark)
SELECT t.name, s, nextval('trace_marks') FROM trace_targets AS t CROSS JOIN unnest(%(subjects)s::text[]) AS s
ORDER BY t.name, s
ON CONFLICT (target, subject) DO UPDATE SET mark = nextval('trace_marks'), tries = 0, error = '', at = now()

-- Those that were tried least come first, so that one that cannot be told holds up nothing; after ten tries it is left.
-- name: next_traces
SELECT subject, mark, tries FROM trace_outbox WHERE target = %(target)s AND tries < 10
ORDER BY tries, mark LIMIT %(limit)s

-- name: traces_told
DELETE FROM trace_outbox AS o
USING unnest(%(subjects)s::text[], %(marks)s::bigint[]) AS told (subject, mark)
WHERE o.target = %(target)s AND o.subject = told.subject AND o.mark = told.mark

-- name: traces_failed
UPDATE trace_outbox AS o SET tries = o.tries + 1, error = %(error)s
FROM unnest(%(subjects)s::text[]) AS f (subject)
WHERE o.target = %(target)s AND o.subject = f.subject

-- name: trace_backlog
SELECT t.name AS target, count(o.subject) FILTER (WHERE o.tries < 10) AS waiting,
       coalesce(extract(epoch FROM now() - min(o.at) FILTER (WHERE o.tries < 10)), 0)::float AS oldest_seconds,
       count(*) FILTER (WHERE o.tries >= 10 AND o.at > now() - interval '1 hour') AS refused
FROM trace_targets AS t LEFT JOIN trace_outbox AS o ON o.target = t.name
GROUP BY t.name ORDER BY t.name

-- name: attempts_to_tell
SELECT * FROM attempts WHERE attempt_id = ANY(%(ids)s::text[])

-- name: run_to_tell
SELECT * FROM runs WHERE id = %(id)s

-- A step begins when its first attempt was asked for, and its answer's key is the call's.
-- name: steps_to_tell
SELECT step, min(coalesce(queued_at, at)) AS started_at, max(coalesce(done_at, settled_at, in_doubt_at, at)) AS ended_at,
       min(call_key) AS call_key
FROM attempts WHERE run_id = %(id)s AND run_id <> '' AND step > 0
GROUP BY step ORDER BY step

-- name: items_to_tell
SELECT i.number, i.key, i.message::text AS message, i.prompt_tokens, i.started_at, i.at
FROM items AS i WHERE i.conversation_id = %(id)s ORDER BY i.number

-- name: ratings_to_tell
SELECT key, body FROM run_events WHERE run_id = %(id)s AND kind = 'rating' ORDER BY id

-- name: answer_to_tell
SELECT conversation_id, number FROM items WHERE key = %(call_key)s AND answer IS NOT NULL LIMIT 1

-- name: retire_traces
DELETE FROM trace_outbox WHERE (target, subject) IN (
    SELECT target, subject FROM trace_outbox WHERE at < %(before)s LIMIT %(limit)s
)
RETURNING subject
