"""`/v1/search` and `/v1/items`: the catalogue, read, hidden and shown while it is served."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gloss.data.catalogue import ItemId
from gloss.serving.problems import ProblemError
from gloss.serving.service import Service, ServiceOf, needs
from gloss.serving.state.items import CurrentItem, ItemChange
from gloss.serving.texts import Id

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["catalogue"])

_READ, _CHANGE = [needs("recommend")], [needs("catalogue")]
_MAX_BULK = 1_000

Page = Annotated[int, Query(ge=1, le=200)]
Words = Annotated[str, Query(max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ItemPatch(_Body):
    """Whether an item is hidden: not recommended, and not found by texts."""

    hidden: bool


class BulkBody(_Body):
    """Many changes at once: all of them, or none. show: also what was removed."""

    hide: Annotated[list[Id], Field(max_length=_MAX_BULK)] = []
    show: Annotated[list[Id], Field(max_length=_MAX_BULK)] = []
    remove: Annotated[list[Id], Field(max_length=_MAX_BULK)] = []


class ItemAnswer(BaseModel):
    """An item as it is now."""

    item: str
    title: str
    hidden: bool
    columns: dict[str, Any]


class ItemsAnswer(BaseModel):
    """A page of the catalogue. next: the `after` of the next page; null on the last."""

    total: int
    items: list[ItemAnswer]
    next: str | None


class ChangedAnswer(BaseModel):
    """How many items changed; they are served changed by now."""

    changed: int


@router.get("/search", dependencies=_READ)
def search(service: ServiceOf, q: Words, limit: Page = 10) -> ItemsAnswer:
    """Items with words that begin so, for a field in which a person types."""
    return _page(service, q, None, limit)


@router.get("/items", dependencies=_READ)
def page(
    service: ServiceOf,
    q: Words = "",
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Page = 50,
) -> ItemsAnswer:
    """The catalogue, page by page; hidden items too."""
    return _page(service, q, after, limit)


@router.post("/items/bulk", dependencies=_CHANGE)
def bulk(body: BulkBody, service: ServiceOf) -> ChangedAnswer:
    """Hide, show and remove many items: kept and served changed when this answers."""
    own = service.live.own.catalogue
    unknown = [each for each in (*body.hide, *body.show, *body.remove) if ItemId(each) not in own]
    if unknown:
        raise ProblemError(404, f"there is no item {unknown[0]!r}")
    hidden = [ItemChange(ItemId(each), hidden=True) for each in body.hide]
    shown = [ItemChange(ItemId(each)) for each in body.show]
    removed = [ItemChange(ItemId(each), removed=True) for each in body.remove]
    return _changed(service, [*hidden, *shown, *removed])


@router.get("/items/{item:path}", dependencies=_READ)
def read(item: str, service: ServiceOf) -> ItemAnswer:
    """One item."""
    return _answer(_known(service, item))


@router.patch("/items/{item:path}", dependencies=_CHANGE)
def patch(item: Id, body: ItemPatch, service: ServiceOf) -> ChangedAnswer:
    """Hide an item, or show it again."""
    known = _known(service, item)
    return _changed(service, [ItemChange(known.item.id, hidden=body.hidden)])


@router.delete("/items/{item:path}", dependencies=_CHANGE)
def remove(item: Id, service: ServiceOf) -> ChangedAnswer:
    """Remove an item; purchases of it still count."""
    _known(service, item)
    return _changed(service, [ItemChange(ItemId(item), removed=True)])


def _page(service: Service, query: str, after: str | None, limit: int) -> ItemsAnswer:
    view = service.live.view()
    found = view.page(query=query, after=None if after is None else ItemId(after), limit=limit + 1)
    shown = found[:limit]
    return ItemsAnswer(
        total=len(view),
        items=[_answer(each) for each in shown],
        next=shown[-1].item.id if len(found) > limit else None,
    )


def _known(service: Service, item: str) -> CurrentItem:
    known = service.live.view().get(ItemId(item))
    if known is None:
        raise ProblemError(404, f"there is no item {item[:200]!r}")
    return known


def _answer(current: CurrentItem) -> ItemAnswer:
    item = current.item
    return ItemAnswer(
        item=item.id, title=item.title, hidden=current.hidden, columns=dict(item.columns)
    )


def _changed(service: Service, changes: list[ItemChange]) -> ChangedAnswer:
    """Keep changes; of two for one item the last counts."""
    distinct = {change.item: change for change in changes}
    if distinct:
        service.live.change(service.model, list(distinct.values()))
    return ChangedAnswer(changed=len(distinct))
