"""What the service asks of a recommender, and a bundle as that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from gloss.arrays import Bools
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.titles import clean_title
from gloss.errors import InputError
from gloss.recommender.recommender import Recommendations, Recommender
from gloss.recommender.rules import Rules, allowed_rows
from gloss.retrieval.retriever import Hit
from gloss.retrieval.within import within

__all__ = ["Served", "ServedBundle"]

OnTitle = Callable[[int, str], None]
"""Called with a history's number and a title that the language model has written for it."""


class Served(Protocol):
    """A recommender behind the service. catalogue: every item that it knows."""

    @property
    def fingerprint(self) -> str:
        """Of what answers."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """Every item that it knows, those that are not shown among them."""
        ...

    @property
    def has_diversity(self) -> bool:
        """Whether lists can be made diverse."""
        ...

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        *,
        rules: Rules,
        wish: str | None,
        on_title: OnTitle | None = None,
    ) -> list[Recommendations]:
        """`k` items for each history of item ids or titles, earliest first; see `Recommender`."""
        ...

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        """At most `k` items for each text."""
        ...

    def changed(self, edited: Sequence[Item], off: Collection[ItemId]) -> Served:
        """The recommender on disk with these changes, in place of those that this one has.

        edited: items that are added, or have another title or other columns. off: items that are
        not shown; purchases of them still count. Raises InputError for an item that does not fit
        the catalogue, and when none would be left to show.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServedBundle:
    """A bundle that is served. own: as it lies on disk; recommender: with the edited items; off:
    the items that it does not show."""

    own: Recommender
    recommender: Recommender
    edited: tuple[Item, ...] = ()
    off: frozenset[ItemId] = field(default_factory=frozenset)

    @classmethod
    def open(cls, path: Path) -> ServedBundle:
        """The recommender of a bundle. Raises what `Recommender.open` raises."""
        own = Recommender.open(path)
        return cls(own, own)

    @property
    def fingerprint(self) -> str:
        return self.recommender.fingerprint

    @property
    def catalogue(self) -> Catalogue:
        return self.recommender.catalogue

    @property
    def has_diversity(self) -> bool:
        return self.recommender.bundle.has_title_vectors

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        *,
        rules: Rules,
        wish: str | None,
        on_title: OnTitle | None = None,
    ) -> list[Recommendations]:
        kept = replace(rules, exclude=rules.exclude | self.off)
        return self.recommender.recommend(histories, k, rules=kept, wish=wish, on_title=on_title)

    def search(self, texts: Sequence[str], k: int) -> list[tuple[Hit, ...]]:
        bundle = self.recommender.bundle
        cleaned = [clean_title(text, bundle.settings.titles) for text in texts]
        return within(bundle.retriever, self._shown()).search(cleaned, k)

    def changed(self, edited: Sequence[Item], off: Collection[ItemId]) -> ServedBundle:
        recommender = self.recommender
        if tuple(edited) != self.edited:
            recommender = self.own.with_items(edited) if edited else self.own
        changed = ServedBundle(self.own, recommender, tuple(edited), frozenset(off))
        shown = changed._shown()
        if shown is not None and not shown.any():
            raise InputError("every item would be hidden or removed: nothing to recommend is left")
        return changed

    def _shown(self) -> Bools | None:
        """bool (catalogue,); None for all."""
        bundle = self.recommender.bundle
        return allowed_rows(Rules(exclude=self.off), bundle.catalogue, bundle.columns)
