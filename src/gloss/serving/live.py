"""The recommender that is served now: opened, reloaded, and with the catalogue's changes.

Everything that changes it goes one at a time. Another recommender is opened and tried beside the
one that answers, and takes its place between two batches: no request waits for it or is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from gloss.data.catalogue import ItemId
from gloss.recommender.rules import NO_RULES
from gloss.serving.catalogue_view import CatalogueView
from gloss.serving.model_thread import ModelThread
from gloss.serving.served import Served
from gloss.serving.state.items import ItemChange, ItemChanges, current_items

__all__ = ["LiveRecommender"]


class LiveRecommender:
    """Opens what is served and changes it. open_own: the recommender as it lies on disk."""

    def __init__(self, open_own: Callable[[], Served], changes: ItemChanges) -> None:
        self._open_own, self._kept = open_own, changes
        self._changing = Lock()
        self._own: Served | None = None
        self.changes: dict[ItemId, ItemChange] = {}
        self._view: tuple[tuple[Served, dict[ItemId, ItemChange]], CatalogueView] | None = None

    @property
    def own(self) -> Served:
        """The recommender without the catalogue's changes."""
        assert self._own is not None, "open() comes first"
        return self._own

    def open(self) -> Served:
        """The recommender on disk with the changes that are kept, after a decode that works."""
        with self._changing:
            return self._opened()

    def reload(self, model: ModelThread) -> Served:
        """Serve what lies on disk now. If it cannot be opened, what is served stays."""
        with self._changing:
            served = self._opened()
            model.swap(served)
        return served

    def change(self, model: ModelThread, changes: Sequence[ItemChange]) -> None:
        """Keep changes of the catalogue, and serve it changed.

        Raises InputError when no item would be left; nothing has changed then.
        """
        with self._changing, self._restored_on_error(changes):
            served = self._changed(self.own)
            self._kept.put(changes)
            model.swap(served)

    def view(self) -> CatalogueView:
        """The catalogue as people read and change it, hidden items among the others."""
        key = self.own, self.changes
        if self._view is None or any(a is not b for a, b in zip(self._view[0], key, strict=True)):
            self._view = key, CatalogueView(current_items(key[0].catalogue, key[1]))
        return self._view[1]

    @contextmanager
    def _restored_on_error(self, changes: Sequence[ItemChange]) -> Iterator[None]:
        before = self.changes
        self.changes = {**before, **{change.item: change for change in changes}}
        try:
            yield
        except BaseException:
            self.changes = before
            raise

    def _opened(self) -> Served:
        self._own, self.changes = self._open_own(), self._kept.all()
        served = self._changed(self.own)
        served.recommend([(served.catalogue[0].id,)], 1, rules=NO_RULES, wish=None)
        return served

    def _changed(self, own: Served) -> Served:
        off = [item for item, change in self.changes.items() if change.is_off]
        return own.without(off) if off else own
