"""Keep where and how early disks are saved before a lease's end, and what was saved."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("end_uri", sa.Text(), nullable=True))
    op.add_column("workspaces", sa.Column("save_lead", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("workspaces", sa.Column("saved", sa.Text(), server_default="{}", nullable=False))
    saved = sa.text("end_action = 'save'")
    op.create_index(
        "ix_workspaces_saving", "workspaces", ["ends_at"], unique=False, sqlite_where=saved, postgresql_where=saved
    )


def downgrade() -> None:
    op.drop_index("ix_workspaces_saving", table_name="workspaces")
    op.drop_column("workspaces", "saved")
    op.drop_column("workspaces", "save_lead")
    op.drop_column("workspaces", "end_uri")
