"""Alembic's entry point: runs the migrations on the connection that gateway.store.migrate hands over."""

from alembic import context

from gateway.store.columns import metadata


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


_run()
