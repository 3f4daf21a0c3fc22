"""Which authority issued a card's signing certificate: its generations count their serial numbers each for itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of cards that are there it stays unknown."""
    op.add_column("card", sa.Column("signing_authority_key_id", sa.String(128)))


def downgrade() -> None:
    """Drop the column, and what it holds."""
    op.drop_column("card", "signing_authority_key_id")
