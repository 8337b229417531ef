"""Create every table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_addresses()
    _create_collections()
    _create_events()
    _create_leases()
    _create_nodes()
    _create_pools()
    _create_subscriptions()
    _create_workspaces()
    _create_deliveries()
    _create_holds()


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_table("deliveries")
    op.drop_table("workspaces")
    op.drop_table("subscriptions")
    op.drop_table("pools")
    op.drop_table("nodes")
    op.drop_table("leases")
    op.drop_table("events")
    op.drop_table("collections")
    op.drop_table("addresses")


def _create_addresses() -> None:
    op.create_table(
        "addresses",
        sa.Column("id", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(length=32), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=True),
        sa.Column("dns", sa.Text(), nullable=False),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("workspace_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_addresses"),
        sa.UniqueConstraint("network", "ip", name="uq_addresses_network_ip"),
    )
    op.create_index(
        "ix_addresses_free",
        "addresses",
        ["network", "position"],
        unique=False,
        sqlite_where=sa.text("workspace_id IS NULL AND listed = 1"),
        postgresql_where=sa.text("workspace_id IS NULL AND listed = 1"),
    )
    op.create_index(
        "ix_addresses_leased",
        "addresses",
        ["network", "listed", "workspace_id"],
        unique=False,
        sqlite_where=sa.text("workspace_id IS NOT NULL"),
        postgresql_where=sa.text("workspace_id IS NOT NULL"),
    )
    op.create_index(
        "ix_addresses_workspace",
        "addresses",
        ["workspace_id"],
        unique=False,
        sqlite_where=sa.text("workspace_id IS NOT NULL"),
        postgresql_where=sa.text("workspace_id IS NOT NULL"),
    )


def _create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("ensemble_id", sa.String(length=64), nullable=True),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.Column("published", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_collections"),
    )
    op.create_index("ix_collections_ensemble", "collections", ["ensemble_id"], unique=False)
    op.create_index("ix_collections_owner", "collections", ["kind", "owner", "id"], unique=False)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("resource_id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=True),
        sa.Column("ensemble_id", sa.String(length=64), nullable=True),
        sa.Column("sent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("kind", "resource_id", "sequence", name="uq_events_kind_resource_id_sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_at", "events", ["at"], unique=False)
    op.create_index(
        "ix_events_unsent",
        "events",
        ["id"],
        unique=False,
        sqlite_where=sa.text("sent = 0"),
        postgresql_where=sa.text("sent = 0"),
    )


def _create_leases() -> None:
    op.create_table(
        "leases",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("resources", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
        sa.UniqueConstraint("owner", "token", name="uq_leases_owner_token"),
    )


def _create_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("disk_mb", sa.BigInteger(), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(length=16), nullable=False),
        sa.Column("reach", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_nodes"),
    )


def _create_pools() -> None:
    op.create_table(
        "pools",
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("network", name="pk_pools"),
    )


def _create_subscriptions() -> None:
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("producer_kind", sa.String(length=16), nullable=False),
        sa.Column("producer_id", sa.String(length=64), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("consumer_host", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("filter_xml", sa.Text(), nullable=False),
        sa.Column("topics", sa.Text(), nullable=False),
        sa.Column("raw", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
    )
    op.create_index("ix_subscriptions_ends", "subscriptions", ["ends_at"], unique=False)
    op.create_index("ix_subscriptions_host", "subscriptions", ["consumer_host"], unique=False)
    op.create_index("ix_subscriptions_owner", "subscriptions", ["owner"], unique=False)
    op.create_index("ix_subscriptions_producer", "subscriptions", ["producer_id", "producer_kind"], unique=False)


def _create_workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=16), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.String(length=64), nullable=False),
        sa.Column("launch_set", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=True),
        sa.Column("ensemble_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("task", sa.String(length=16), nullable=True),
        sa.Column("target", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("disk_mb", sa.BigInteger(), nullable=False),
        sa.Column("disks", sa.Text(), nullable=False),
        sa.Column("nics", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("initial_state", sa.String(length=16), nullable=False),
        sa.Column("end_action", sa.String(length=16), nullable=False),
        sa.Column("save_uri", sa.Text(), nullable=True),
        sa.Column("duration", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("start_by", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("warned", sa.Boolean(), nullable=False),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("stamps", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
        sa.UniqueConstraint("tag", name="uq_workspaces_tag"),
    )
    op.create_index("ix_workspaces_ensemble", "workspaces", ["ensemble_id"], unique=False)
    op.create_index(
        "ix_workspaces_finished",
        "workspaces",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index("ix_workspaces_group", "workspaces", ["group_id"], unique=False)
    op.create_index("ix_workspaces_launch_set", "workspaces", ["launch_set"], unique=False)
    op.create_index(
        "ix_workspaces_living",
        "workspaces",
        ["ends_at"],
        unique=False,
        sqlite_where=sa.text("state NOT IN ('Cancelled', 'Corrupted', 'Ended')"),
        postgresql_where=sa.text("state NOT IN ('Cancelled', 'Corrupted', 'Ended')"),
    )
    op.create_index(
        "ix_workspaces_node",
        "workspaces",
        ["node"],
        unique=False,
        sqlite_where=sa.text("state NOT IN ('Cancelled', 'Corrupted', 'Ended')"),
        postgresql_where=sa.text("state NOT IN ('Cancelled', 'Corrupted', 'Ended')"),
    )
    op.create_index("ix_workspaces_owner", "workspaces", ["owner", "id"], unique=False)
    op.create_index("ix_workspaces_state", "workspaces", ["state"], unique=False)
    op.create_index(
        "ix_workspaces_task",
        "workspaces",
        ["id"],
        unique=False,
        sqlite_where=sa.text("task IS NOT NULL"),
        postgresql_where=sa.text("task IS NOT NULL"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("position", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("subscription_id", sa.String(length=64), nullable=False),
        sa.Column("event_id", _COUNTER, nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["events.id"], name="fk_deliveries_event_id"),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name="fk_deliveries_subscription_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("position", name="pk_deliveries"),
        sa.UniqueConstraint("event_id", "subscription_id", name="uq_deliveries_event_id_subscription_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_queue", "deliveries", ["subscription_id", "position"], unique=False)


def _create_holds() -> None:
    op.create_table(
        "holds",
        sa.Column("workspace_id", sa.String(length=64), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("disk_mb", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["nodes.name"], name="fk_holds_node"),
        sa.PrimaryKeyConstraint("workspace_id", name="pk_holds"),
    )
    op.create_index("ix_holds_node", "holds", ["node", "memory_mb", "cpus", "disk_mb"], unique=False)
