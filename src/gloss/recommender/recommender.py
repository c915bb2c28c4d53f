"""The recommender: what somebody has bought in, what to show out, with the reason.

>>> recommender = Recommender.open(Path("demo-bundle"))                      # doctest: +SKIP
>>> (answer,) = recommender.recommend([["Fernhill Sketch Pad, A4"]], k=3)     # doctest: +SKIP
>>> [item.title for item in answer.items], answer.way                        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gloss.config import Decoding
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import InputError
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.recommender.bundle import Bundle, open_bundle
from gloss.recommender.histories import ReadHistory, read_history
from gloss.recommender.lists import ListRequest, Lists
from gloss.recommender.reasons import Reason, reason_of
from gloss.recommender.rules import NO_RULES, Arrangement, Rules, allowed_rows

__all__ = ["Recommendation", "Recommendations", "Recommender", "Way"]

Way = Literal["fused", "language-model", "rankers", "similar-titles", "wish", "popular"]
"""How a list was made.

fused: by the language model and rankers; language-model, rankers: by these alone; similar-titles:
by titles like those of purchases that the catalogue lacks; wish: by the wish alone; popular: by
what is bought most, as nothing is known of the person. A list that would be too short ends with
popular items, whose reason says so.
"""

_POOL = 1000
"""Entries from which rules that reorder a list choose its items."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """An item to show.

    score: comparable within one list only. reason, why: see `Reason`. words: those
    that the item's title shares with the text in `why`.
    """

    item: ItemId
    title: str
    score: float
    reason: Reason
    why: str | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recommendations:
    """One person's list, best first; how it was made; the purchases that were taken as texts,
    because the catalogue has no such id or title; and for each of these the title of the catalogue
    that has most in common with it, if any has."""

    items: tuple[Recommendation, ...]
    way: Way
    unknown: tuple[str, ...]
    nearest: tuple[str | None, ...]


class Recommender:
    """A bundle, ready to answer; make one with `Recommender.open`."""

    def __init__(self, bundle: Bundle, decoding: Decoding | None = None) -> None:
        self.bundle = bundle
        self._lists = Lists(bundle, decoding)

    @classmethod
    def open(cls, path: Path, *, decoding: Decoding | None = None) -> Recommender:
        """Open the bundle at `path`. decoding: instead of the bundle's own.

        Raises InputError or ArtifactError when something is missing or damaged, MissingExtraError
        when what a part needs is not installed.
        """
        return cls(open_bundle(Path(path)), decoding)

    @property
    def catalogue(self) -> Catalogue:
        """The items that it knows, with their columns."""
        return self.bundle.catalogue

    @property
    def fingerprint(self) -> str:
        """Of the bundle: equal fingerprints answer equally."""
        return self.bundle.fingerprint

    def with_items(self, items: Sequence[Item]) -> Recommender:
        """The same recommender with further items, or with other titles and columns of known ones.

        Nothing on disk changes, and the model is shared. Texts find such an item, the language
        model may write its title, and rankers that read titles alone list it; the others know the
        bundle's own items (recommender/extended.py). Raises InputError for a title without a word,
        and for a column that the catalogue does not have.
        """
        other = copy(self)
        other._lists = self._lists.with_items(items)
        other.bundle = other._lists.bundle
        return other

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        rules: Rules = NO_RULES,
        wish: str | None = None,
        on_title: Callable[[int, str], None] | None = None,
    ) -> list[Recommendations]:
        """`k` items for each history, as long as so many may be shown.

        histories: ids or titles of purchases, earliest first; titles need not be in the catalogue,
        and a history may be empty. wish: a sentence that says what is wanted. on_title: called with
        a history's number and a title as soon as the language model has written it, which may find
        no place in the list. Everybody is answered together, which is many times as fast as one by
        one. Raises InputError when the rules leave no item at all.
        """
        if k < 1:
            raise InputError(f"a list holds at least 1 item, not {k}")
        read = [
            read_history(str(number), purchases, self.catalogue, self.bundle.settings.titles)
            for number, purchases in enumerate(histories)
        ]
        wish = clean_title(wish, "fair") if wish else None
        request = self._request(rules, k, on_title, wish)
        vectors = self.bundle.title_vectors if self.bundle.has_title_vectors else None
        arrangement = Arrangement(rules, self.catalogue, self.bundle.columns, vectors)
        wished = self._lists.of_wish(wish, request) if wish else ()
        nearest = self._lists.nearest_titles([text for each in read for text in each.unknown])
        answers = []
        for history, (ranking, way) in zip(read, self._ranked(read, request), strict=True):
            if wished:
                ranking = self._lists.with_wish(ranking, wished, history, request)
            if way == "popular" and (wished or self._is_read(request)):
                way = "wish"
            items = self._items(history, ranking.entries, arrangement, request, k, wish)
            near = tuple(nearest[text] for text in history.unknown)
            answers.append(Recommendations(items, way, history.unknown, near))
        return answers

    def _request(
        self,
        rules: Rules,
        k: int,
        on_title: Callable[[int, str], None] | None,
        wish: str | None,
    ) -> ListRequest:
        allowed = allowed_rows(rules, self.catalogue, self.bundle.columns)
        if allowed is not None and not allowed.any():
            raise InputError("no item of the catalogue keeps the rules")
        exclude_seen = rules.exclude_seen
        if exclude_seen is None:
            exclude_seen = self.bundle.settings.exclude_seen
        pool = max(k, _POOL) if rules.reorders else k
        return ListRequest(
            allowed,
            exclude_seen,
            pool,
            fills_up=rules.minimum_score is None,
            on_title=on_title and (lambda user, title: on_title(int(user), title)),
            wish=wish,
        )

    def _ranked(
        self, read: Sequence[ReadHistory], request: ListRequest
    ) -> list[tuple[Ranking, Way]]:
        """Everybody's list by the best way there is for what is known of them."""
        ways = [self._way(each) for each in read]
        lists: dict[int, Ranking] = {}
        for way in set(ways):
            places = [place for place, other in enumerate(ways) if other == way]
            made = self._made(way, [read[place] for place in places], request)
            lists.update(zip(places, made, strict=True))
        return [(lists[place], way) for place, way in enumerate(ways)]

    def _way(self, history: ReadHistory) -> Way:
        if history.items:
            if not self._lists.has_rankers:
                return "language-model"
            return "fused" if self._lists.has_model else "rankers"
        if history.titles:
            return "language-model" if self._lists.has_model else "similar-titles"
        return "popular"

    def _made(
        self, way: Way, read: Sequence[ReadHistory], request: ListRequest
    ) -> Sequence[Ranking]:
        if way in ("fused", "rankers"):
            return self._lists.of_known(read, request)
        if way == "language-model":
            return self._lists.of_model(read, request)
        if way == "similar-titles":
            return self._lists.of_texts(read, request)
        if self._is_read(request):
            return self._lists.of_model(read, request)
        return [Ranking(each.user, ()) for each in read]

    def _is_read(self, request: ListRequest) -> bool:
        """Whether there is a wish, and a language model that reads it."""
        return request.wish is not None and self._lists.reads_wish

    def _items(
        self,
        history: ReadHistory,
        ranked: Sequence[RankedItem],
        arrangement: Arrangement,
        request: ListRequest,
        k: int,
        wish: str | None,
    ) -> tuple[Recommendation, ...]:
        """`k` items of a list that keeps the rules, filled up with popular ones."""
        own = {entry.item for entry in ranked}
        entries = arrangement.first(ranked, k)
        if len(entries) < k and request.fills_up:
            popular = self._lists.popular(history, request)
            more = tuple(entry for entry in popular if entry.item not in own)
            entries = arrangement.first((*ranked, *more), k)
        return tuple(
            self._recommendation(entry, history, wish, is_popular=entry.item not in own)
            for entry in entries
        )

    def _recommendation(
        self, entry: RankedItem, history: ReadHistory, wish: str | None, *, is_popular: bool
    ) -> Recommendation:
        title = self.catalogue.title(entry.item)
        because = None if entry.because is None else self.catalogue.title(entry.because)
        reason, why, words = reason_of(
            entry,
            title,
            because=because,
            titles=history.titles,
            is_popular=is_popular,
            wish=wish,
        )
        return Recommendation(entry.item, title, float(np.float64(entry.score)), reason, why, words)
