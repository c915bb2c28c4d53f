"""Which user was shown which list of which recommender, and when: experiments are judged by it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, Row, insert, select

from gloss.serving.state.tables import EVENTS, EXPOSURES

__all__ = ["Exposure", "ExposureLog", "UserLog"]

_USERS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Exposure:
    """A list that was made for a user, best item first.

    name, model: of the recommender, and its fingerprint; is_shown: False for a list that was made
    for the log alone; request: equal for lists that were made for one request; at: milliseconds
    since 1970, UTC.
    """

    user: str
    name: str
    model: str
    items: tuple[str, ...]
    request: str
    at: int
    is_shown: bool = True


@dataclass(frozen=True, slots=True)
class UserLog:
    """A user's lists, and what they bought: (item, at), both earliest first."""

    user: str
    exposures: tuple[Exposure, ...]
    purchases: tuple[tuple[str, int], ...]


class ExposureLog:
    """The exposures of a state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, exposure: Exposure) -> None:
        """Keep one. It is on disk on return."""
        row = {
            "user": exposure.user,
            "name": exposure.name,
            "model": exposure.model,
            "shown": exposure.is_shown,
            "items": json.dumps(exposure.items),
            "request": exposure.request,
            "at": exposure.at,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(EXPOSURES).values(row))

    def of_users(self, users: Sequence[str]) -> list[Exposure]:
        """The exposures of some users, earliest first."""
        query = select(EXPOSURES).where(EXPOSURES.c.user.in_(users))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(EXPOSURES.c.at, EXPOSURES.c.number)).all()
        return [_exposure(row) for row in rows]

    def users(self) -> Iterator[UserLog]:
        """Everybody who was shown a list, with what they bought; few are held at once."""
        query = select(EXPOSURES.c.user).distinct()
        with self._engine.connect() as connection:
            everybody = list(connection.execute(query).scalars())
        for start in range(0, len(everybody), _USERS_AT_ONCE):
            yield from self._logs(everybody[start : start + _USERS_AT_ONCE])

    def _logs(self, users: Sequence[str]) -> Iterator[UserLog]:
        exposures: dict[str, list[Exposure]] = {user: [] for user in users}
        purchases: dict[str, list[tuple[str, int]]] = {user: [] for user in users}
        for exposure in self.of_users(users):
            exposures[exposure.user].append(exposure)
        columns = EVENTS.c.user, EVENTS.c.item, EVENTS.c.at
        query = select(*columns).where(EVENTS.c.user.in_(users)).order_by(EVENTS.c.at)
        with self._engine.connect() as connection:
            for user, item, at in connection.execute(query):
                purchases[user].append((item, at))
        for user in users:
            yield UserLog(user, tuple(exposures[user]), tuple(purchases[user]))


def _exposure(row: Row[tuple[object, ...]]) -> Exposure:
    return Exposure(
        row.user,
        row.name,
        row.model,
        tuple(json.loads(row.items)),
        row.request,
        row.at,
        is_shown=row.shown,
    )
