"""Events and catalogue changes: the first version of the state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("event", sa.String(200), nullable=False, unique=True),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("item", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("events_of_user", "events", ["user", "at", "number"])
    op.create_table(
        "items",
        sa.Column("item", sa.String(200), primary_key=True),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("items")
    op.drop_table("events")
