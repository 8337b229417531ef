"""Keep what a workspace asks for of its node's hardware."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("hardware", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("workspaces", "hardware")
