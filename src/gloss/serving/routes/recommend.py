"""`/v1/recommend`, `/v1/similar` and `/v1/ground`: what the recommender is for."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from gloss.data.catalogue import ItemId
from gloss.recommender.reasons import Reason
from gloss.recommender.recommender import Recommendation, Way
from gloss.recommender.rules import Rules
from gloss.serving.event_stream import MEDIA_TYPE, event_stream, wants_events
from gloss.serving.problems import ProblemError
from gloss.serving.service import Service, ServiceOf, ask, ask_titles, needs
from gloss.serving.texts import MAX_HISTORY, MAX_K, Id, Text
from gloss.serving.waiting import Answer, Question

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["recommendations"], dependencies=[needs("recommend")])

K = Annotated[int, Field(ge=1, le=MAX_K, description="How many items, at most.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


Items = Annotated[list[Id], Field(max_length=10_000)]


class RulesBody(_Body):
    """What a list must keep; see `gloss.Rules`.

    Without its expressions in SQL: one that is costly would hold up everybody's lists.
    """

    exclude: Annotated[Items, Field(description="Items that are not shown.")] = []
    only: Annotated[Items | None, Field(description="The only items that may be shown.")] = None
    exclude_seen: Annotated[
        bool | None, Field(description="Leave out what was bought; null as the bundle says.")
    ] = None
    at_most: Annotated[
        dict[Id, Annotated[int, Field(ge=1)]],
        Field(max_length=20, description="By column: items of one value in a list."),
    ] = {}
    one_variant: Annotated[bool, Field(description="One item of a title, or of a group.")] = False
    diversity: Annotated[
        float, Field(ge=0, le=1, description="What an item loses that is like those above it.")
    ] = 0.0
    minimum_score: Annotated[
        float | None, Field(allow_inf_nan=False, description="Where a list ends.")
    ] = None

    def rules(self) -> Rules:
        """The same, as a recommender takes them."""
        return Rules(
            exclude=frozenset(map(ItemId, self.exclude)),
            only=None if self.only is None else frozenset(map(ItemId, self.only)),
            exclude_seen=self.exclude_seen,
            at_most=self.at_most,
            one_variant=self.one_variant,
            diversity=self.diversity,
            minimum_score=self.minimum_score,
        )


class RecommendBody(_Body):
    """Whose next purchase is asked for; a person of whom nothing is known gets popular items."""

    history: Annotated[
        list[Text],
        Field(max_length=MAX_HISTORY, description="Ids or titles, earliest first."),
    ] = []
    user: Annotated[Id | None, Field(description="Their events come after the history.")] = None
    k: K = 10
    rules: RulesBody = RulesBody()
    wish: Annotated[Text | None, Field(description="A sentence: what is wanted.")] = None
    model: Annotated[
        Id | None,
        Field(description="The name of one of the recommenders, where two are served."),
    ] = None
    timeout_ms: Annotated[
        int | None, Field(ge=1, le=600_000, description="An answer that comes later is of no use.")
    ] = None


class RecommendedItem(BaseModel):
    """An item to show. why: the text that led to it; words: those that its title shares with it."""

    item: str
    title: str
    score: float
    reason: Reason
    why: str | None
    words: list[str]


class RecommendAnswer(BaseModel):
    """A list and how it was made. unknown: purchases that the catalogue lacks, taken as texts;
    nearest: for each of them the title of the catalogue that has most in common with it.

    model: the fingerprint of the bundle that answered.
    """

    request_id: str
    model: str
    way: Way
    unknown: list[str]
    nearest: list[str | None]
    items: list[RecommendedItem]


_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The list; with `Accept: text/event-stream` titles while they are written, "
        "then the list.",
        "content": {
            MEDIA_TYPE: {
                "schema": {"type": "string"},
                "example": 'event: title\ndata: {"title": "Kite"}\n\n'
                'event: list\ndata: {"request_id": …}\n\n',
            }
        },
    }
}


@router.post("/recommend", response_model=RecommendAnswer, responses=_STREAMED)
async def recommend(
    body: RecommendBody, request: Request, service: ServiceOf
) -> RecommendAnswer | StreamingResponse:
    """What somebody will want next.

    With `Accept: text/event-stream` the events `title` tell of titles while the language model
    writes them; the event `list` is the answer, `problem` a refusal that comes later.
    """
    began = time.monotonic()
    assignment = service.experiments.assign(body.user, body.model)
    history = await _history(body, service)
    question = Question(history, body.k, body.rules.rules(), body.wish, assignment.arm)
    seconds = service.settings.deadline_seconds
    if body.timeout_ms is not None:
        seconds = min(seconds, body.timeout_ms / 1000)
    request_id = request.scope["state"]["request_id"]

    async def body_of(answer: Answer) -> RecommendAnswer:
        await service.experiments.answered(assignment, question, answer, request_id)
        return _answer(answer, service, request_id, began)

    if wants_events(request):
        events = ask_titles(service, request, question, seconds)
        return await event_stream(events, body_of, request_id)
    return await body_of(await ask(service, request, question, seconds))


def _answer(answer: Answer, service: Service, request_id: str, began: float) -> RecommendAnswer:
    """The body of an answer, which is counted."""
    made = answer.list
    service.metrics.recommended(
        time.monotonic() - began,
        made.way,
        [each.reason for each in made.items],
        [each.item for each in made.items],
    )
    return RecommendAnswer(
        request_id=request_id,
        model=answer.model,
        way=made.way,
        unknown=list(made.unknown),
        nearest=list(made.nearest),
        items=[_item(each) for each in made.items],
    )


async def _history(body: RecommendBody, service: Service) -> tuple[str, ...]:
    """The history of the request, then what the user has bought since; unknown ids tell nothing."""
    if body.user is None:
        return tuple(body.history)
    events = await run_in_threadpool(service.events.of_user, body.user, latest=MAX_HISTORY)
    catalogue = service.live.served.catalogue
    known = (each.item for each in events if ItemId(each.item) in catalogue)
    return (*body.history, *known)[-MAX_HISTORY:]


def _item(recommendation: Recommendation) -> RecommendedItem:
    return RecommendedItem(
        item=recommendation.item,
        title=recommendation.title,
        score=recommendation.score,
        reason=recommendation.reason,
        why=recommendation.why,
        words=list(recommendation.words),
    )


class SimilarBody(_Body):
    """The item whose like is asked for."""

    item: Id
    k: K = 10


class FoundItem(BaseModel):
    """An item that a text found. Scores of two texts do not compare."""

    item: str
    title: str
    score: float


class FoundAnswer(BaseModel):
    """What one text found, best first."""

    items: list[FoundItem]


@router.post("/similar")
def similar(body: SimilarBody, service: ServiceOf) -> FoundAnswer:
    """Items whose titles are like that of an item."""
    known = service.live.view().get(ItemId(body.item))
    if known is None:
        raise ProblemError(404, f"there is no item {body.item!r}")
    (found,) = _found(service, [known.item.title], body.k + 1)
    others = [each for each in found.items if each.item != body.item]
    return FoundAnswer(items=others[: body.k])


class GroundBody(_Body):
    """Texts: titles that a model wrote, or words of a person."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=64)]
    k: K = 10


class GroundAnswer(BaseModel):
    """One list of items for each text, in their order."""

    lists: list[FoundAnswer]


@router.post("/ground")
def ground(body: GroundBody, service: ServiceOf) -> GroundAnswer:
    """The items of the catalogue that texts mean."""
    return GroundAnswer(lists=_found(service, body.texts, body.k))


def _found(service: Service, texts: list[str], k: int) -> list[FoundAnswer]:
    served = service.model.served
    title = served.catalogue.title
    return [
        FoundAnswer(
            items=[FoundItem(item=hit.item, title=title(hit.item), score=hit.score) for hit in hits]
        )
        for hits in served.search(texts, k)
    ]
