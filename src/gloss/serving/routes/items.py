"""`/v1/search` and `/v1/items`: the catalogue, read and changed while it is served."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gloss.data.catalogue import ItemId
from gloss.serving.problems import ProblemError
from gloss.serving.service import Service, ServiceOf, needs
from gloss.serving.state.items import CurrentItem, ItemEdit
from gloss.serving.texts import Id, Text

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["catalogue"])

_READ, _CHANGE = [needs("recommend")], [needs("catalogue")]
_MAX_BULK = 1_000

Page = Annotated[int, Query(ge=1, le=200)]
Words = Annotated[str, Query(max_length=200)]


Value = bool | int | Annotated[float, Field(allow_inf_nan=False)] | Text | None
Columns = Annotated[dict[Id, Value], Field(max_length=50)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ItemBody(_Body):
    """An item to add, or in place of the one of its id; it is shown. columns: some of the
    catalogue's; the others of a new item are null, those of a known one stay."""

    title: Text
    columns: Columns = {}


class NewItem(ItemBody):
    """The same among others, with its id."""

    item: Id


class ItemPatch(_Body):
    """What is to be changed of an item. hidden: not recommended, and not found by texts."""

    hidden: bool | None = None
    title: Text | None = None
    columns: Columns | None = None


class BulkBody(_Body):
    """Many changes at once: all of them, or none. show: also what was removed."""

    put: Annotated[list[NewItem], Field(max_length=_MAX_BULK)] = []
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
    """Add, change, hide, show and remove many items: kept and served when this answers."""
    put = [_put(each.item, each) for each in body.put]
    for each in (*body.hide, *body.show, *body.remove):
        if not service.live.knows(ItemId(each)):
            raise ProblemError(404, f"there is no item {each!r}")
    hidden = [ItemEdit(ItemId(each), hidden=True) for each in body.hide]
    shown = [ItemEdit(ItemId(each), hidden=False, removed=False) for each in body.show]
    removed = [ItemEdit(ItemId(each), removed=True) for each in body.remove]
    return _changed(service, [*put, *hidden, *shown, *removed])


@router.get("/items/{item:path}", dependencies=_READ)
def read(item: str, service: ServiceOf) -> ItemAnswer:
    """One item."""
    return _answer(_known(service, item))


@router.put("/items/{item:path}", dependencies=_CHANGE)
def put(item: Id, body: ItemBody, service: ServiceOf) -> ChangedAnswer:
    """Add an item, or put it in the place of the one of this id."""
    return _changed(service, [_put(item, body)])


@router.patch("/items/{item:path}", dependencies=_CHANGE)
def patch(item: Id, body: ItemPatch, service: ServiceOf) -> ChangedAnswer:
    """Change an item: hide it or show it again, give it another title or other columns."""
    known = _known(service, item).item.id
    edit = ItemEdit(known, hidden=body.hidden, title=body.title, columns=body.columns)
    return _changed(service, [edit])


@router.delete("/items/{item:path}", dependencies=_CHANGE)
def remove(item: Id, service: ServiceOf) -> ChangedAnswer:
    """Remove an item; purchases of it still count."""
    _known(service, item)
    return _changed(service, [ItemEdit(ItemId(item), removed=True)])


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


def _put(item: str, body: ItemBody) -> ItemEdit:
    return ItemEdit(
        ItemId(item), hidden=False, removed=False, title=body.title, columns=body.columns
    )


def _changed(service: Service, edits: list[ItemEdit]) -> ChangedAnswer:
    """Keep changes. An item that is named twice is refused: which of both is meant?"""
    twice = [item for item, count in Counter(edit.item for edit in edits).items() if count > 1]
    if twice:
        raise ProblemError(422, f"item {twice[0]!r} is named twice")
    if edits:
        service.live.change(service.model, edits)
    return ChangedAnswer(changed=len(edits))
