"""An artefact that several processes make together (`gloss.training.processes`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe, draft_of, open_artifact
from gloss.artifacts.drafts import parts_of_draft
from gloss.training.processes import (
    is_first_process,
    join_processes,
    process_count,
    wait_for_all,
)

__all__ = ["make_together"]

Fill = Callable[[Draft], object]


def make_together(
    recipe: Recipe, out: Path, begin: Callable[[], Fill], *, scratch: tuple[str, ...] = ()
) -> Artifact:
    """`Recipe.make_from` for work of one or of several processes, which all call this.

    `begin` loads what is needed and returns what fills the draft. It is called in every process,
    with the same draft in the same folder: what it fills it with is the first process's work, or
    dealt out among all. The first seals and delivers it.
    """
    if process_count() == 1:
        return recipe.make_from(out, begin, scratch=scratch, is_work=True)
    join_processes()
    if is_first_process():
        recipe.finish(out)
    wait_for_all()
    found = recipe.find_current(out)
    wait_for_all()  # nobody begins before everybody has looked
    if found:
        return found
    if is_first_process():
        recipe.make_from(out, lambda: _with_others(begin()), scratch=scratch, is_work=True)
    else:
        fill = begin()
        wait_for_all()  # for the draft
        fill(_first_ones_draft(out, scratch))
        wait_for_all()
    wait_for_all()
    return open_artifact(out, recipe.kind)


def _with_others(fill: Fill) -> Fill:
    """Begins when all have loaded what they need, and ends when all are done."""

    def fill_with_others(draft: Draft) -> None:
        wait_for_all()
        fill(draft)
        wait_for_all()

    return fill_with_others


def _first_ones_draft(out: Path, scratch: tuple[str, ...]) -> Draft:
    path = draft_of(out)
    return Draft(path, {}, scratch, parts_of_draft(path))
