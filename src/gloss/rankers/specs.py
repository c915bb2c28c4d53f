"""Every ranker, in one tuple: the place to add one."""

from __future__ import annotations

from typing import Any

from gloss.errors import named
from gloss.rankers import (
    last_item,
    popularity,
    repeats,
    title_similarity,
    transitions,
    word_overlap,
)
from gloss.rankers.dual_encoder import ranker as dual_encoder
from gloss.rankers.ranker import RankerSpec
from gloss.rankers.sasrec import ranker as sasrec

__all__ = ["RANKERS", "ranker_named"]

RANKERS: tuple[RankerSpec[Any], ...] = (
    popularity.SPEC,
    last_item.SPEC,
    repeats.SPEC,
    transitions.SPEC,
    transitions.SECOND_ORDER,
    title_similarity.SPEC,
    word_overlap.SPEC,
    dual_encoder.SPEC,
    sasrec.SPEC,
)


def ranker_named(name: str) -> RankerSpec[Any]:
    """The ranker of that name; ConfigError, naming the nearest, if there is none."""
    return named(name, RANKERS, what="ranker")
