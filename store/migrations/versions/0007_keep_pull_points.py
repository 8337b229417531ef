"""Keep pull points with their messages, and what was delivered to whom."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pull_points",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("fetched", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pull_points"),
    )
    op.create_index("ix_pull_points_owner", "pull_points", ["owner"])
    op.create_index("ix_pull_points_ends", "pull_points", ["ends_at"])
    op.create_table(
        "pull_messages",
        sa.Column("pull_point_id", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["pull_point_id"], ["pull_points.id"], name="fk_pull_messages_pull_point_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pull_point_id", "number", name="pk_pull_messages"),
    )
    op.add_column("subscriptions", sa.Column("pull_point_id", sa.String(64), nullable=True))
    op.create_index("ix_subscriptions_pull_point", "subscriptions", ["pull_point_id"])
    op.create_table(
        "delivered",
        sa.Column("position", COUNTER, nullable=False),
        sa.Column("subscription_id", sa.String(64), nullable=False),
        sa.Column("event_id", COUNTER, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_delivered_subscription_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_delivered_event_id"),
        sa.PrimaryKeyConstraint("position", name="pk_delivered"),
    )
    op.create_index("ix_delivered_log", "delivered", ["subscription_id", "position"])
    op.create_index("ix_delivered_event", "delivered", ["event_id"])
    op.create_index("ix_delivered_at", "delivered", ["at"])


def downgrade() -> None:
    op.drop_table("delivered")
    op.drop_index("ix_subscriptions_pull_point", table_name="subscriptions")
    op.drop_column("subscriptions", "pull_point_id")
    op.drop_table("pull_messages")
    op.drop_table("pull_points")
