-- name: add_batch
INSERT INTO batches (id, state, key_id, family, endpoint, digest, input_file_id, metadata, requests, provider,
                     deployment, attempt_id, process_id, asked_nano_usd, opened, upload)
VALUES (%(id)s, 'opening', %(key_id)s, %(family)s, %(endpoint)s, %(digest)s, %(input_file_id)s,
        %(metadata)s::jsonb, %(requests)s, %(provider)s, %(deployment)s, %(attempt_id)s, %(process_id)s,
        %(asked_nano_usd)s, %(opened)s::jsonb, %(upload)s)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: get_batch
SELECT id, state, key_id, family, endpoint, digest, input_file_id, metadata, requests, provider, deployment,
       attempt_id, process_id, day, asked_nano_usd, cost_nano_usd, opened, told, provider_batch_id, error,
       output_file_id, error_file_id, cancel_asked, created_at, sending_at, sent_at,
       ended_at, now() AS asked_at
FROM batches WHERE id = %(id)s

-- name: list_batches
SELECT id, state, key_id, family, endpoint, digest, input_file_id, metadata, requests, provider, deployment,
       attempt_id, process_id, day, asked_nano_usd, cost_nano_usd, opened, told, provider_batch_id, error,
       output_file_id, error_file_id, cancel_asked, created_at, sending_at, sent_at,
       ended_at, now() AS asked_at
FROM batches AS b
WHERE key_id = %(key_id)s AND family = %(family)s AND state NOT IN ('opening', 'refused')
  AND (%(after)s = '' OR (created_at, id) < (SELECT created_at, id FROM batches WHERE id = %(after)s))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s

-- Of all keys, the latest first.
-- name: batches_of_all
SELECT id, state, key_id, family, endpoint, digest, input_file_id, metadata, requests, provider, deployment,
       attempt_id, process_id, day, asked_nano_usd, cost_nano_usd, opened, told, provider_batch_id, error,
       output_file_id, error_file_id, cancel_asked, created_at, sending_at, sent_at,
       ended_at, now() AS asked_at
FROM batches
WHERE state IN ('held', 'sending', 'sent') OR (%(ended)s AND state IN ('ended', 'failed', 'lost'))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s

-- name: batch_upload
SELECT upload FROM batches WHERE id = %(id)s

-- From one state to the next, if nobody was faster.
-- name: move_batch
UPDATE batches SET state = %(to)s,
    day = CASE WHEN %(day)s = '' THEN day ELSE %(day)s END,
    error = CASE WHEN %(error)s = '' THEN error ELSE %(error)s END,
    provider_batch_id = CASE WHEN %(provider_batch_id)s = '' THEN provider_batch_id ELSE %(provider_batch_id)s END,
    sent_at = CASE WHEN %(to)s = 'sent' THEN now() ELSE sent_at END,
    ended_at = CASE WHEN %(to)s IN ('refused', 'failed', 'lost') THEN now() ELSE ended_at END,
    upload = CASE WHEN %(to)s IN ('refused', 'failed', 'lost') THEN NULL ELSE upload END
WHERE id = %(id)s AND state = %(was)s AND sending_at IS NOT DISTINCT FROM coalesce(%(since)s::timestamptz, sending_at)
RETURNING id

-- name: begin_batch
UPDATE batches SET state = 'sending', sending_at = clock_timestamp()
WHERE id = %(id)s AND state = 'held' AND NOT cancel_asked
RETURNING sending_at

-- name: told_of_batch
UPDATE batches SET told = %(told)s::jsonb WHERE id = %(id)s AND state = 'sent' RETURNING cancel_asked

-- name: ask_to_cancel_batch
UPDATE batches SET cancel_asked = true
WHERE id = %(id)s AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s) AND state IN ('held', 'sending', 'sent')
RETURNING id

-- name: end_batch
UPDATE batches SET state = 'ended', cost_nano_usd = %(cost_nano_usd)s, output_file_id = %(output_file_id)s,
    error_file_id = %(error_file_id)s, told = %(told)s::jsonb, ended_at = now(), upload = NULL
WHERE id = %(id)s AND state = 'sent'
RETURNING id

-- What still follows a batch settles it; one that nobody has followed for a week is anybody's.
-- name: batches_under_way
SELECT attempt_id FROM batches
WHERE state IN ('opening', 'held', 'sending', 'sent') AND created_at > now() - interval '7 days'

-- name: retire_batches
DELETE FROM batches WHERE id IN (
    SELECT id FROM batches WHERE created_at < %(before)s AND state NOT IN ('held', 'sending', 'sent')
    ORDER BY created_at LIMIT %(limit)s
)
RETURNING id
