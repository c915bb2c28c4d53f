"""What each beam is worth: which of a user's generated titles put the next purchase into the list.

Beam 0 is the likeliest title. Every entry of a list is credited to one title
(retrieval/grounding.py); where a user's beams wrote the same title twice, to the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.generations import Generation
from gloss.data.histories import Example
from gloss.rankings.ranking import RankedItem, Ranking

__all__ = ["Beam", "beam_figures"]


@dataclass(frozen=True, slots=True)
class Beam:
    """One beam over all users who were asked; shares are of these users.

    wrote: of the users, those for whom it wrote a title. exact: its title is the next purchase's to
    the letter. hit: the next purchase stands in the list, credited to this beam. so_far: the sum of
    `hit` up to this beam. entries: its share of all entries of all lists.
    """

    beam: int
    wrote: float
    exact: float
    hit: float
    so_far: float
    entries: float


def beam_figures(
    generations: Sequence[Generation],
    rankings: Sequence[Ranking],
    examples: Sequence[Example],
    *,
    catalogue: Catalogue,
) -> tuple[Beam, ...]:
    """One `Beam` for each, in order; empty without users or titles.

    catalogue: its titles cleaned in the style that the model was trained on. Users of `rankings`
    without a generation or an example do not count.
    """
    lists = {ranking.user: ranking.entries for ranking in rankings}
    targets = {e.user: e.target for e in examples if e.user in lists}
    asked = [each for each in generations if each.user in targets]
    beams = 1 + max((query.beam for each in asked for query in each.queries), default=-1)
    wrote, exact, hit, entries = ([0] * beams for _ in range(4))
    for each in asked:
        target = targets[each.user]
        for query in each.queries:
            wrote[query.beam] += 1
            exact[query.beam] += query.text == catalogue.title(target)
        for beam, item in _credited(each, lists[each.user]):
            entries[beam] += 1
            hit[beam] += item == target
    listed, users = max(1, sum(entries)), len(asked)
    return tuple(
        Beam(
            beam,
            wrote[beam] / users,
            exact[beam] / users,
            hit[beam] / users,
            sum(hit[: beam + 1]) / users,
            entries[beam] / listed,
        )
        for beam in range(beams)
    )


def _credited(
    generation: Generation, entries: Sequence[RankedItem]
) -> Iterator[tuple[int, ItemId]]:
    """The beam and the item of each entry that a generated title put there."""
    beams: dict[str | None, int] = {}
    for query in generation.queries:
        beams.setdefault(query.text, query.beam)
    return ((beams[entry.query], entry.item) for entry in entries if entry.query in beams)
