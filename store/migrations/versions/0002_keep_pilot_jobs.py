"""Keep pilot jobs, slots, assignments, reports and marks; workspaces that may be pre-empted, and expected starts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("preemptable", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("workspaces", sa.Column("starts_at", sa.BigInteger(), nullable=True))
    _create_pilot_jobs()
    _create_slots()
    _create_assignments()
    _create_trails()
    op.create_table(
        "marks",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )


def downgrade() -> None:
    op.drop_table("marks")
    op.drop_table("trails")
    op.drop_table("assignments")
    op.drop_table("slots")
    op.drop_table("pilot_jobs")
    op.drop_column("workspaces", "starts_at")
    op.drop_column("workspaces", "preemptable")


def _create_pilot_jobs() -> None:
    op.create_table(
        "pilot_jobs",
        sa.Column("tag", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.String(length=64), nullable=False),
        sa.Column("components", sa.Text(), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lrm_id", sa.Text(), nullable=True),
        sa.Column("native", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("unwanted", sa.Boolean(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=True),
        sa.Column("listed_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tag", name="pk_pilot_jobs"),
    )
    op.create_index("ix_pilot_jobs_claim", "pilot_jobs", ["claim"], unique=False)
    _create_partial("ix_pilot_jobs_living", "pilot_jobs", ["requested_at", "tag"], "state NOT IN ('Ended', 'Lost')")
    _create_partial("ix_pilot_jobs_over", "pilot_jobs", ["over_at"], "over_at IS NOT NULL")


def _create_slots() -> None:
    op.create_table(
        "slots",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("job", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("bound_at", sa.BigInteger(), nullable=True),
        sa.Column("ready_at", sa.BigInteger(), nullable=True),
        sa.Column("heard_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("over_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["pilot_jobs.tag"], name="fk_slots_job", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_slots"),
    )
    op.create_index("ix_slots_job", "slots", ["job", "rank"], unique=True)
    _create_partial("ix_slots_living", "slots", ["job", "rank"], "state NOT IN ('Lost', 'Released')")


def _create_assignments() -> None:
    op.create_table(
        "assignments",
        sa.Column("claim", sa.String(length=64), nullable=False),
        sa.Column("member", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.String(length=32), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("preemptable", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["slot"], ["slots.id"], name="fk_assignments_slot", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("claim", "member", name="pk_assignments"),
    )
    op.create_index("ix_assignments_slot", "assignments", ["slot"], unique=False)


def _create_trails() -> None:
    op.create_table(
        "trails",
        sa.Column("position", _COUNTER, autoincrement=True, nullable=False),
        sa.Column("slot", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["slot"], ["slots.id"], name="fk_trails_slot", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("position", name="pk_trails"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_trails_slot", "trails", ["slot", "position"], unique=False)


def _create_partial(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
