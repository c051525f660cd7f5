-- name: keep_file
INSERT INTO files (id, key_id, purpose, filename, bytes, content)
VALUES (%(id)s, %(key_id)s, %(purpose)s, %(filename)s, %(bytes)s, %(content)s)
ON CONFLICT (id) DO NOTHING

-- name: get_file
SELECT id, key_id, purpose, filename, bytes, created_at FROM files WHERE id = %(id)s AND key_id = %(key_id)s

-- name: file_content
SELECT content FROM files WHERE id = %(id)s AND key_id = %(key_id)s

-- name: list_files
SELECT id, key_id, purpose, filename, bytes, created_at FROM files
WHERE key_id = %(key_id)s AND (%(purpose)s = '' OR purpose = %(purpose)s)
ORDER BY created_at DESC, id LIMIT %(limit)s

-- name: uploaded_bytes
SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM files WHERE key_id = %(key_id)s AND purpose = 'batch'

-- name: remove_file
DELETE FROM files WHERE id = %(id)s AND key_id = %(key_id)s RETURNING id

-- name: retire_files
DELETE FROM files WHERE id IN (
    SELECT id FROM files WHERE created_at < %(before)s ORDER BY created_at LIMIT %(limit)s
)
RETURNING id
