"""Alembic's environment: on the connection it is given, or as a script on standard output."""

from __future__ import annotations

from alembic import context

from centrald.storage.schema import metadata


def _run() -> None:
    given = context.config.attributes
    if context.is_offline_mode():
        context.configure(dialect_name=given["url"].get_dialect().name, target_metadata=metadata, literal_binds=True)
    else:
        context.configure(connection=given["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


_run()
