"""`/v1/events` and `/v1/users`: purchases as they happen, and what is known of a person."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gloss.data.catalogue import ItemId
from gloss.serving.service import Service, ServiceOf, needs
from gloss.serving.state.events import Event
from gloss.serving.state.exposures import Exposure
from gloss.serving.texts import MAX_HISTORY, Id

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["events"], dependencies=[needs("events")])

_MAX_EVENTS = 1_000


class EventBody(BaseModel):
    """A purchase. id: the shop's own for it; sent twice it is counted once."""

    model_config = ConfigDict(extra="forbid")

    user: Id
    item: Id
    id: Id | None = None
    time: Annotated[AwareDatetime | None, Field(description="When; now if it is not given.")] = None


class EventsBody(BaseModel):
    """Purchases: all are kept, or none."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[EventBody], Field(min_length=1, max_length=_MAX_EVENTS)]


class EventsAnswer(BaseModel):
    """accepted: how many were new; duplicates: how many were known. All are on disk."""

    accepted: int
    duplicates: int


class Purchase(BaseModel):
    """A purchase of a person. title: null where the item is no longer known."""

    event: str
    item: str
    title: str | None
    time: datetime


class UserAnswer(BaseModel):
    """What is known of a person, earliest first."""

    user: str
    events: list[Purchase]


class ShownList(BaseModel):
    """A list of an experiment. recommender, model: its name and fingerprint; shown: false where it
    was made for the log alone."""

    recommender: str
    model: str
    items: list[str]
    shown: bool
    time: datetime


class ExportAnswer(UserAnswer):
    """Everything that is kept of a person. lists: of experiments."""

    lists: list[ShownList]


class ForgottenAnswer(BaseModel):
    """How many events of a person were deleted; the lists they were shown are deleted, too."""

    deleted: int


@router.post("/events")
def add(body: EventsBody, service: ServiceOf) -> EventsAnswer:
    """Keep purchases; the user's next list knows them."""
    new = service.events.add([_event(each) for each in body.events])
    return EventsAnswer(accepted=new, duplicates=len(body.events) - new)


@router.get("/users/{user:path}/export", response_model=ExportAnswer)
def export(user: str, service: ServiceOf) -> JSONResponse:
    """Everything that is kept of a person, as a file."""
    lists = [_shown(each) for each in service.exposures.of_users([user])]
    answer = ExportAnswer(**dict(_of_user(service, user, None)), lists=lists)
    disposition = {"Content-Disposition": 'attachment; filename="user.json"'}
    return JSONResponse(answer.model_dump(mode="json"), headers=disposition)


@router.get("/users/{user:path}")
def history(user: str, service: ServiceOf) -> UserAnswer:
    """The latest purchases of a person: what their lists are made from."""
    return _of_user(service, user, MAX_HISTORY)


@router.delete("/users/{user:path}")
def forget(user: str, service: ServiceOf) -> ForgottenAnswer:
    """Delete everything that is kept of a person."""
    return ForgottenAnswer(deleted=service.events.forget(user))


def _event(body: EventBody) -> Event:
    at = time.time() if body.time is None else body.time.timestamp()
    return Event(body.id or uuid4().hex, body.user, body.item, int(at * 1000))


def _of_user(service: Service, user: str, latest: int | None) -> UserAnswer:
    events = service.events.of_user(user, latest=latest)
    return UserAnswer(user=user, events=[_purchase(service, each) for each in events])


def _purchase(service: Service, event: Event) -> Purchase:
    known = service.live.view().get(ItemId(event.item))
    title = known.item.title if known else None
    return Purchase(event=event.id, item=event.item, title=title, time=_time(event.at))


def _shown(exposure: Exposure) -> ShownList:
    return ShownList(
        recommender=exposure.name,
        model=exposure.model,
        items=list(exposure.items),
        shown=exposure.is_shown,
        time=_time(exposure.at),
    )


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
