"""Let subscriptions be paused, by their owners or because their consumers fail."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("paused_at", sa.BigInteger(), nullable=True))
    op.add_column("subscriptions", sa.Column("pause_reason", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("subscriptions", "pause_reason")
    op.drop_column("subscriptions", "paused_at")
