"""Batches, and the files that they are made of."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ddl = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver's own cursor: many statements in one string, and no meaning for % and : in them.
    op.get_bind().connection.cursor().execute(ddl)


def downgrade() -> None:
    raise RuntimeError("migrations are not undone: restore a backup instead")
