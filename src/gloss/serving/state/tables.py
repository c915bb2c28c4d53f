"""The tables of the state, as the newest migration leaves them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = ["EVENTS", "EXPOSURES", "ITEMS", "METADATA"]

METADATA = MetaData()

EVENTS = Table(
    "events",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("event", String(200), nullable=False, unique=True),
    Column("user", String(200), nullable=False),
    Column("item", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970, UTC
    Index("events_of_user", "user", "at", "number"),
)

ITEMS = Table(
    "items",
    METADATA,
    Column("item", String(200), primary_key=True),
    Column("hidden", Boolean, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("title", Text),
    Column("columns", Text),  # JSON
)
"""One row for each item that was added, changed, hidden, shown or removed."""

EXPOSURES = Table(
    "exposures",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("user", String(200), nullable=False),
    Column("name", Text, nullable=False),  # of the recommender
    Column("model", Text, nullable=False),  # its fingerprint
    Column("shown", Boolean, nullable=False),  # or made for the log alone
    Column("items", Text, nullable=False),  # JSON, best first
    Column("request", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds since 1970, UTC
    Index("exposures_of_user", "user", "at", "number"),
)
"""One row for each list of an experiment."""
