"""Opens the database of a state, and brings it to the newest version of its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from gloss.errors import ConfigError, InputError

__all__ = ["existing_database", "insert_for", "open_database"]

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x676C6F7373  # any number, the same for all services that start at once
_ALEMBIC = Lock()
"""Alembic keeps the migration that runs in variables of its modules."""

_PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
"""WAL: readers do not wait for writers. FULL: a commit is on disk when it returns.
secure_delete: what is deleted is overwritten, as whoever wants their data removed expects."""


def open_database(address: str) -> Engine:
    """The database at a path (SQLite) or URL, with tables of the newest version.

    Raises ConfigError for an address that is neither, InputError when the database cannot be
    opened. Neither names a password.
    """
    url = _url(address)
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    try:
        _migrate(engine)
    except SQLAlchemyError as error:
        shown = url.render_as_string(hide_password=True)
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise InputError(f"the state {shown} cannot be opened: {reason}") from None
    return engine


@contextmanager
def existing_database(address: str) -> Iterator[Engine]:
    """The database of a service, for the block; InputError also for a file that is not there."""
    if "://" not in address and not Path(address).is_file():
        raise InputError(f"there is no state {address}: name what gloss serve has as --state")
    engine = open_database(address)
    try:
        yield engine
    finally:
        engine.dispose()


def insert_for(engine: Engine, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say ON CONFLICT, which SQLite and PostgreSQL spell alike."""
    if engine.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _url(address: str) -> URL:
    if "://" not in address:
        return URL.create("sqlite", database=address)
    try:
        url = make_url(address)
    except ArgumentError:
        raise ConfigError("the state's address is neither a path nor a database URL") from None
    known = {
        "sqlite": "sqlite",
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
    }
    backend = url.drivername.split("+")[0]
    if backend not in known:
        raise ConfigError(f"the state is kept in sqlite or postgresql, not in {backend!r}")
    return url.set(drivername=known[backend])


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: Engine) -> None:
    """Run the migrations that are missing; services that start together wait for each other."""
    with _ALEMBIC, engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        command.upgrade(_configuration(connection), "head")


def _configuration(connection: Connection) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    configuration.attributes["connection"] = connection
    return configuration
