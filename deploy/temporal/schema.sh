#!/bin/sh
# Temporal's two databases in PostgreSQL; every step does nothing when it was done before.
set -eu

for store in temporal visibility; do
    database=temporal
    [ "$store" = visibility ] && database=temporal_visibility
    tool() {
        temporal-sql-tool --plugin "$DB" --endpoint "$POSTGRES_SEEDS" --port "$DB_PORT" \
            --user "$POSTGRES_USER" --database "$database" "$@"
    }
    tool create
    tool setup-schema --version 0.0
    tool update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$store/versioned"
done
