"""Keep by which token each guest is known and what it reported; workspaces that wait for their guests."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("ready_within", sa.BigInteger(), nullable=True))
    op.add_column("workspaces", sa.Column("ready_by", sa.BigInteger(), nullable=True))
    op.create_table(
        "guests",
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_guests"),
    )
    op.create_index("ix_guests_token", "guests", ["token_hash"], unique=True)


def downgrade() -> None:
    op.drop_table("guests")
    op.drop_column("workspaces", "ready_by")
    op.drop_column("workspaces", "ready_within")
