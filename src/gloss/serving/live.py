"""The recommender that is served now: opened, reloaded, and with the catalogue's changes.

Everything that changes it goes one at a time. Another recommender is opened and tried beside the
one that answers, and takes its place between two batches: no request waits for it or is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from gloss.data.catalogue import Catalogue, ItemId
from gloss.recommender.rules import NO_RULES
from gloss.serving.catalogue_view import CatalogueView
from gloss.serving.model_thread import ModelThread
from gloss.serving.served import Served
from gloss.serving.state.items import (
    ItemChange,
    ItemChanges,
    ItemEdit,
    current_items,
    edited_items,
)

__all__ = ["LiveRecommender"]


@dataclass(frozen=True, slots=True)
class _State:
    """own: the items of the recommender on disk. served: it, with the changes."""

    own: Catalogue
    served: Served
    changes: Mapping[ItemId, ItemChange]

    def after(self, changes: Mapping[ItemId, ItemChange]) -> _State:
        """The state with these changes instead. Raises InputError where they do not fit."""
        in_order = [changes[item] for item in sorted(changes)]  # the same at the next start
        off = [change.item for change in in_order if change.is_off]
        served = self.served.changed(edited_items(self.own, in_order), off)
        return _State(self.own, served, changes)


class LiveRecommender:
    """Opens what is served and changes it. open_own: the recommender as it lies on disk."""

    def __init__(self, open_own: Callable[[], Served], changes: ItemChanges) -> None:
        self._open_own, self._kept = open_own, changes
        self._changing = Lock()
        self._state: _State | None = None
        self._view: tuple[_State, CatalogueView] | None = None

    @property
    def served(self) -> Served:
        """The recommender with the catalogue's changes."""
        return self._now.served

    def knows(self, item: ItemId) -> bool:
        """Whether there is, or was, such an item: one that may be shown again."""
        now = self._now
        return item in now.served.catalogue or item in now.changes

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

    def change(self, model: ModelThread, edits: Sequence[ItemEdit]) -> None:
        """Keep changes of the catalogue, and serve it changed.

        Raises InputError for an item that does not fit the catalogue and when none would be left;
        nothing has changed then.
        """
        with self._changing:
            now = self._now
            new = {edit.item: edit.after(now.changes.get(edit.item)) for edit in edits}
            after = now.after({**now.changes, **new})
            self._kept.put(list(new.values()))
            self._state = after
            model.swap(after.served)

    def catch_up(self, model: ModelThread) -> None:
        """Serve the catalogue with changes that other services of the same state have kept."""
        with self._changing:
            kept = self._kept.all()
            if kept != self._now.changes:
                self._state = self._now.after(kept)
                model.swap(self._state.served)

    def view(self) -> CatalogueView:
        """The catalogue as people read and change it, hidden items among the others."""
        now, kept = self._now, self._view
        if kept is None or kept[0] is not now:
            kept = now, CatalogueView(current_items(now.served.catalogue, now.changes))
            self._view = kept
        return kept[1]

    @property
    def _now(self) -> _State:
        assert self._state is not None, "open() comes first"
        return self._state

    def _opened(self) -> Served:
        own = self._open_own()
        state = _State(own.catalogue, own, {}).after(self._kept.all())
        served = state.served
        served.recommend([(served.catalogue[0].id,)], 1, rules=NO_RULES, wish=None)
        self._state = state
        return served
