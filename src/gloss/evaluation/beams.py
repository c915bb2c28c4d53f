"""What each beam contributes: which generated titles put the target into the list.

Beam 0 is the likeliest title. Every entry of a list is credited to one title
(retrieval/grounding.py); where two beams of a user wrote the same title, to the earlier one.
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
    """One beam over all users with a generation, a list and a target.

    Shares of these users: wrote, those for whom the beam wrote a title; exact, those whose target
    has exactly that title; hit, those whose list holds the target, credited to this beam; so_far,
    the sum of `hit` up to this beam. entries: the beam's share of all entries of all lists.
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
    counted = [generation for generation in generations if generation.user in targets]
    beams = 1 + max((query.beam for each in counted for query in each.queries), default=-1)
    wrote, exact, hit, entries = ([0] * beams for _ in range(4))
    for generation in counted:
        target = targets[generation.user]
        for query in generation.queries:
            wrote[query.beam] += 1
            exact[query.beam] += query.text == catalogue.title(target)
        for beam, item in _credited(generation, lists[generation.user]):
            entries[beam] += 1
            hit[beam] += item == target
    listed, users = max(1, sum(entries)), len(counted)
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
