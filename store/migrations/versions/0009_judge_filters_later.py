"""Let deliveries wait for their subscription's filter to be evaluated."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UNJUDGED = sa.text("unjudged = 1")


def upgrade() -> None:
    column = sa.Column("unjudged", sa.Integer(), nullable=False, server_default=sa.text("0"))
    op.add_column("deliveries", column)
    op.create_index(
        "ix_deliveries_unjudged",
        "deliveries",
        ["subscription_id"],
        sqlite_where=_UNJUDGED,
        postgresql_where=_UNJUDGED,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_unjudged", "deliveries")
    op.drop_column("deliveries", "unjudged")
