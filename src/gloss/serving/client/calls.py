"""What each call takes and sends, and how its answer is read: once for both forms of the client.

Knows no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

from gloss.data.catalogue import ItemId
from gloss.errors import ConfigError
from gloss.recommender.recommender import Recommendation, Recommendations
from gloss.recommender.rules import NO_RULES, Rules

__all__ = [
    "Call",
    "Found",
    "Purchase",
    "StoredItem",
    "add_events",
    "change_items",
    "forget",
    "ground",
    "item",
    "purchases",
    "recommend",
    "reload",
    "search",
    "similar",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read. Every one may be sent twice."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An item that a text found."""

    item: ItemId
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it is now."""

    item: ItemId
    title: str
    hidden: bool = False
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Purchase:
    """Somebody bought something. event: the shop's own id for it, by which it is counted once."""

    user: str
    item: ItemId
    event: str = field(default_factory=lambda: uuid4().hex)
    time: datetime | None = None


def recommend(
    history: Sequence[str] = (),
    *,
    user: str | None = None,
    k: int = 10,
    rules: Rules = NO_RULES,
    wish: str | None = None,
) -> Call[Recommendations]:
    """`k` items for a history of ids or titles, earliest first, and a user's events."""
    body: dict[str, Any] = {"history": list(history), "k": k, "rules": _rules(rules)}
    if user is not None:
        body["user"] = user
    if wish is not None:
        body["wish"] = wish
    return Call("POST", "/v1/recommend", _recommendations, body)


def similar(item: str, *, k: int = 10) -> Call[list[Found]]:
    """Items whose titles are like that of an item."""
    return Call("POST", "/v1/similar", _found, {"item": item, "k": k})


def ground(texts: Sequence[str], *, k: int = 10) -> Call[list[list[Found]]]:
    """The items that each text means."""
    body = {"texts": list(texts), "k": k}
    return Call("POST", "/v1/ground", lambda answer: [*map(_found, answer["lists"])], body)


def search(query: str, *, limit: int = 10) -> Call[list[StoredItem]]:
    """Items with words that begin so."""
    path = f"/v1/search?q={quote(query, safe='')}&limit={limit}"
    return Call("GET", path, lambda answer: [*map(_item, answer["items"])])


def item(item: str) -> Call[StoredItem]:
    """One item."""
    return Call("GET", f"/v1/items/{quote(item, safe='')}", _item)


def add_events(events: Iterable[Purchase]) -> Call[int]:
    """Keep purchases; how many were new. They are on disk on return."""
    sent = [
        {
            "user": each.user,
            "item": each.item,
            "id": each.event,
            "time": each.time and each.time.isoformat(),
        }
        for each in events
    ]
    return Call("POST", "/v1/events", lambda answer: int(answer["accepted"]), {"events": sent})


def purchases(user: str) -> Call[list[Purchase]]:
    """Everything that is kept of a person, earliest first."""
    path = f"/v1/users/{quote(user, safe='')}/export"
    return Call("GET", path, lambda answer: [_purchase(user, each) for each in answer["events"]])


def forget(user: str) -> Call[int]:
    """Delete everything that is kept of a person; how many purchases there were."""
    path = f"/v1/users/{quote(user, safe='')}"
    return Call("DELETE", path, lambda answer: int(answer["deleted"]))


def change_items(
    *,
    put: Iterable[StoredItem] = (),
    hide: Iterable[str] = (),
    show: Iterable[str] = (),
    remove: Iterable[str] = (),
) -> Call[int]:
    """Add, change, hide, show and remove items, all or none; how many."""
    new = [{"item": each.item, "title": each.title, "columns": {**each.columns}} for each in put]
    body = {"put": new, "hide": [*hide], "show": [*show], "remove": [*remove]}
    return Call("POST", "/v1/items/bulk", lambda answer: int(answer["changed"]), body)


def reload() -> Call[str]:
    """Have the service serve what lies on its disk now; the fingerprint of that."""
    return Call("POST", "/v1/admin/reload", lambda answer: str(answer["model"]), {})


def _rules(rules: Rules) -> dict[str, Any]:
    if rules.where is not None or rules.boosts:
        raise ConfigError("where and boosts are not taken over HTTP: see docs/serving.md")
    return {
        "exclude": sorted(rules.exclude),
        "only": None if rules.only is None else sorted(rules.only),
        "exclude_seen": rules.exclude_seen,
        "at_most": dict(rules.at_most),
        "one_variant": rules.one_variant,
        "diversity": rules.diversity,
        "minimum_score": rules.minimum_score,
    }


def _recommendations(answer: Any) -> Recommendations:
    items = tuple(
        Recommendation(
            ItemId(each["item"]),
            each["title"],
            each["score"],
            each["reason"],
            each["why"],
            tuple(each["words"]),
        )
        for each in answer["items"]
    )
    unknown, nearest = tuple(answer["unknown"]), tuple(answer["nearest"])
    return Recommendations(items, answer["way"], unknown, nearest)


def _found(answer: Any) -> list[Found]:
    return [Found(ItemId(each["item"]), each["title"], each["score"]) for each in answer["items"]]


def _item(answer: Any) -> StoredItem:
    return StoredItem(ItemId(answer["item"]), answer["title"], answer["hidden"], answer["columns"])


def _purchase(user: str, answer: Any) -> Purchase:
    at = datetime.fromisoformat(answer["time"])
    return Purchase(user, ItemId(answer["item"]), answer["event"], at)
