"""Purchases as they happen: each is counted once, however often it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, delete, select

from gloss.serving.state.store import insert_for
from gloss.serving.state.tables import EVENTS, EXPOSURES

__all__ = ["Event", "EventLog"]


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody bought something. id: the shop's own; the same id is the same event. at:
    milliseconds since 1970, UTC."""

    id: str
    user: str
    item: str
    at: int


class EventLog:
    """The events of a state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, events: Sequence[Event]) -> int:
        """Keep events, all or none; returns how many were new. They are on disk on return."""
        rows = [
            {"event": each.id, "user": each.user, "item": each.item, "at": each.at}
            for each in events
        ]
        statement = insert_for(self._engine, EVENTS).values(rows)
        unknown = statement.on_conflict_do_nothing(index_elements=["event"])
        with self._engine.begin() as connection:
            return len(connection.execute(unknown.returning(EVENTS.c.number)).all())

    def of_user(self, user: str, *, latest: int | None = None) -> list[Event]:
        """A person's events, earliest first; only the latest ones, where a number is given."""
        columns = EVENTS.c.event, EVENTS.c.user, EVENTS.c.item, EVENTS.c.at
        newest_first = EVENTS.c.at.desc(), EVENTS.c.number.desc()
        query = select(*columns).where(EVENTS.c.user == user).order_by(*newest_first)
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(latest)).all()
        return [Event(row[0], row[1], row[2], row[3]) for row in reversed(rows)]

    def forget(self, user: str) -> int:
        """Delete everything that is kept of a person; returns how many events there were."""
        with self._engine.begin() as connection:
            connection.execute(delete(EXPOSURES).where(EXPOSURES.c.user == user))
            return connection.execute(delete(EVENTS).where(EVENTS.c.user == user)).rowcount
