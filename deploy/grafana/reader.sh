#!/bin/sh
# The role that Grafana reads with, as PG* and READER_PASSWORD say. Compose tries again when Postgres is not there.
set -eu
: "${READER_PASSWORD:?}"

psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet --file="$(dirname "$0")/reader.sql"
psql --no-psqlrc --set=ON_ERROR_STOP=1 --quiet --set=password="$READER_PASSWORD" <<'SQL'
ALTER ROLE curb_grafana PASSWORD :'password';
SQL
