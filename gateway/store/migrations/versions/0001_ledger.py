"""The first tables: attempts, ledger, conversations, runs, events, budgets, epochs, audit."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver's own cursor: many statements in one string, and no meaning for % and : in them.
    op.get_bind().connection.cursor().execute(ddl)


def downgrade() -> None:
    raise RuntimeError("the ledger is never dropped by a migration: restore a backup instead")
