"""Runs an Alembic step on the connection that `shared.storage.database.migrate` hands over,
in one transaction: a step that fails leaves nothing behind."""

from alembic import context

from shared.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
