"""Run by Alembic: migrate over the connection that is handed in, within its transaction."""

from alembic import context

from flyinglow.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
