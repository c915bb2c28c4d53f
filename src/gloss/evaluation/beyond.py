"""Beyond accuracy: what lists and generated titles are like, whether they hit or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from gloss.data.catalogue import Catalogue
from gloss.data.example_table import ExampleTable
from gloss.data.generations import Generation
from gloss.data.histories import Example
from gloss.data.history_rows import HistoryRows
from gloss.evaluation.metrics import Floats
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable, distinct

__all__ = [
    "TitleFigures",
    "catalogue_coverage",
    "holds_purchases",
    "novelty",
    "self_information",
    "title_figures",
]


@dataclass(frozen=True, slots=True)
class TitleFigures:
    """What was generated, over all users.

    titles: how many. in_catalogue: the share that is exactly an item's title. repeated: the share
    that repeats an earlier title of the same user. per_user: the mean number of distinct titles a
    user.
    """

    titles: int
    in_catalogue: float
    repeated: float
    per_user: float


def catalogue_coverage(
    rankings: Sequence[Ranking], cutoffs: Sequence[int], *, catalogue: Catalogue
) -> dict[str, float]:
    """The share of the catalogue that is among anybody's first k items, "coverage@k".

        coverage@k = |∪_u first k of u's list| / |catalogue|

    Items that the catalogue lacks do not count.

    Herlocker, Konstan, Terveen and Riedl, TOIS 2004, section 4.1; "catalog coverage" of Ge,
    Delgado-Battenfeld and Jannach, RecSys 2010.
    """
    lists = RankingTable.of(rankings)
    listed = pl.DataFrame({"item": lists.entries["items"], "place": lists.ranks + 1})
    first = listed.group_by("item").agg(pl.col("place").min())
    known = [item in catalogue for item in first["item"].to_list()]
    places = first["place"].to_numpy()[known]
    return {f"coverage@{k}": float((places <= k).sum()) / len(catalogue) for k in cutoffs}


def self_information(train: HistoryRows, catalogue: Catalogue) -> Floats:
    """How surprising each item is, in bits, float64 (items,).

        information(i) = -log2(max(1, training users who bought i) / training users)

    Zhou, Kuscsik, Liu, Medo, Wakeling and Zhang, PNAS 2010; "mean self-information" of Castells,
    Hurley and Vargas, Recommender Systems Handbook 2015.
    """
    size = len(catalogue)
    bought = np.unique(train.owners * size + train.rows)  # who bought what, once
    buyers = np.bincount(bought % size, minlength=size)
    information: Floats = np.log2(max(1, len(train.lengths)) / np.maximum(buyers, 1))
    return information


def novelty(
    rankings: Sequence[Ranking],
    cutoffs: Sequence[int],
    *,
    information: Floats,
    catalogue: Catalogue,
) -> dict[str, float]:
    """The mean self-information of a user's first k items, averaged over users, "novelty@k".

        novelty@k = mean_u mean_{i in first k of u's list} information(i)

    Users without a list do not count, nor do items that the catalogue lacks; 0 where nothing is
    left. information: float64 (items,).
    """
    lists = RankingTable.of(rankings).first(max(cutoffs))
    names, (codes,) = distinct([lists.entries["items"]])
    rows = [catalogue.row(item) if item in catalogue else -1 for item in names.to_list()]
    row = np.array(rows, np.int64)[codes]  # (entries,), -1 for an unknown item

    def mean(k: int) -> float:
        counted = (lists.ranks < k) & (row >= 0)
        of_user = lists.rows[counted]
        sums = np.bincount(of_user, information[row[counted]], minlength=len(lists))
        counts = np.bincount(of_user, minlength=len(lists))
        return float((sums[counts > 0] / counts[counts > 0]).mean()) if counted.any() else 0.0

    return {f"novelty@{k}": mean(k) for k in cutoffs}


def holds_purchases(rankings: Sequence[Ranking], examples: Sequence[Example]) -> bool:
    """Whether any list holds an item that its user had bought before."""
    lists = RankingTable.of(rankings)
    users = pl.Series("user", lists.users, pl.String)
    listed = pl.DataFrame({"user": users.gather(lists.rows), "item": lists.entries["items"]})
    bought = ExampleTable.of(examples).frame.select("user", item="history").explode("item")
    return not listed.join(bought, on=["user", "item"], how="semi").is_empty()


def title_figures(
    generations: Sequence[Generation], catalogue_titles: Collection[str]
) -> TitleFigures:
    """What share of the generated titles exists, and what share repeats another.

    catalogue_titles: a set, cleaned in the style that the model was trained on. Without titles all
    figures are 0.
    """
    written = [[query.text for query in each.queries] for each in generations]
    titles = sum(map(len, written))
    existing = sum(text in catalogue_titles for texts in written for text in texts)
    different = sum(len(set(texts)) for texts in written)
    return TitleFigures(
        titles=titles,
        in_catalogue=existing / max(1, titles),
        repeated=(titles - different) / max(1, titles),
        per_user=different / max(1, len(written)),
    )
