"""Items that are added or changed while they are served: their titles and columns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; null for what the recommender says."""
    op.add_column("items", sa.Column("title", sa.Text))
    op.add_column("items", sa.Column("columns", sa.Text))


def downgrade() -> None:
    """Drop both columns."""
    op.drop_column("items", "columns")
    op.drop_column("items", "title")
