#!/bin/sh
# Langfuse's own role and database in the Postgres that PG* name. Everything of Langfuse waits for this, so that
# nothing of it starts without secrets.
set -eu
: "${LANGFUSE_PASSWORD:?}" "${LANGFUSE_SALT:?}" "${LANGFUSE_ENCRYPTION_KEY:?}" "${LANGFUSE_SESSION_SECRET:?}"

psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet --set=password="$LANGFUSE_PASSWORD" <<'SQL'
SELECT 'CREATE ROLE langfuse LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'langfuse') \gexec
ALTER ROLE langfuse PASSWORD :'password';
SELECT 'CREATE DATABASE langfuse OWNER langfuse'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'langfuse') \gexec
SQL
