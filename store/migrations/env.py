"""Run by Alembic: migrate over the connection that is handed in, within its transaction."""

from alembic import context

from flyinglow.store.slot_tables import MARKS

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=MARKS.metadata,  # all tables share one
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
