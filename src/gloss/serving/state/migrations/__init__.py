"""The versions of the state's tables, run by Alembic when a service starts."""
