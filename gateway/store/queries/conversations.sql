-- name: create_conversation
INSERT INTO conversations (id, run_id, agent) VALUES (%(id)s, %(run_id)s, %(agent)s)
ON CONFLICT DO NOTHING

-- name: find_conversation
SELECT id, run_id, agent, items, created_at FROM conversations WHERE id = %(id)s

-- The row lock of the UPDATE is what hands out numbers one at a time.
-- name: append_item
WITH slot AS (
    UPDATE conversations SET items = items + 1
    WHERE id = %(id)s
      AND NOT EXISTS (SELECT FROM items WHERE conversation_id = %(id)s AND key = %(key)s)
    RETURNING items - 1 AS number
), added AS (
    INSERT INTO items (conversation_id, number, key, message, answer, prompt_tokens, started_at)
    SELECT %(id)s, number, %(key)s, %(message)s::json, %(answer)s::json, %(prompt_tokens)s, %(started_at)s FROM slot
    RETURNING number, message::text AS message, answer::text AS answer
)
SELECT number, message, answer FROM added
UNION ALL
SELECT number, message::text, answer::text FROM items WHERE conversation_id = %(id)s AND key = %(key)s

-- What a run has come to goes with its answer: one statement and one commit a step less.
-- name: append_answer
WITH slot AS (
    UPDATE conversations SET items = items + 1
    WHERE id = %(id)s
      AND NOT EXISTS (SELECT FROM items WHERE conversation_id = %(id)s AND key = %(key)s)
    RETURNING items - 1 AS number
), added AS (
    INSERT INTO items (conversation_id, number, key, message, answer, prompt_tokens)
    SELECT %(id)s, number, %(key)s, %(message)s::json, %(answer)s::json, %(prompt_tokens)s FROM slot
    RETURNING number, message::text AS message, answer::text AS answer
), noted AS (
    UPDATE runs SET status = 'running', waiting_for = '', steps = greatest(steps, %(step)s::int), updated_at = now()
    WHERE id = %(run_id)s AND ended_at IS NULL
)
SELECT number, message, answer FROM added
UNION ALL
SELECT number, message::text, answer::text FROM items WHERE conversation_id = %(id)s AND key = %(key)s

-- name: find_item
SELECT number, message::text AS message, answer::text AS answer
FROM items WHERE conversation_id = %(id)s AND key = %(key)s

-- name: load_items
SELECT number, key, message::text AS message, prompt_tokens
FROM items
WHERE conversation_id = %(id)s AND number <= coalesce(%(up_to)s::int, 2147483647)
ORDER BY number

-- name: load_some_items
SELECT number, key, message::text AS message, prompt_tokens
FROM items
WHERE conversation_id = %(id)s AND number = ANY(%(numbers)s::int[])
ORDER BY number

-- name: load_two_items
SELECT number, key, message::text AS message, prompt_tokens
FROM items WHERE conversation_id = %(id)s AND number = %(number)s
UNION ALL
SELECT number, key, message::text AS message, prompt_tokens
FROM items WHERE conversation_id = %(id)s AND key = %(key)s

-- name: load_answer
SELECT number, message::text AS message, answer::text AS answer
FROM items WHERE key = %(call_key)s AND answer IS NOT NULL
UNION ALL
SELECT -1, answer ->> 'message', answer ->> 'answer'
FROM http_answers WHERE call_key = %(call_key)s AND expires_at > now()
LIMIT 1

-- A dead answer is replaced, a living one is touched and comes back as it was.
-- name: save_http_answer
INSERT INTO http_answers AS h (call_key, answer, expires_at)
VALUES (%(call_key)s, %(answer)s::json, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (call_key) DO UPDATE SET
    answer = CASE WHEN h.expires_at > now() THEN h.answer ELSE excluded.answer END,
    expires_at = greatest(h.expires_at, CASE WHEN h.expires_at > now() THEN h.expires_at ELSE excluded.expires_at END)
RETURNING answer::text AS answer

-- name: expire_http_answers
DELETE FROM http_answers WHERE call_key IN (
    SELECT call_key FROM http_answers WHERE expires_at <= now() ORDER BY expires_at LIMIT %(limit)s
)
RETURNING call_key
