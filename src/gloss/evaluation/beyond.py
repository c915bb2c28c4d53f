"""Beyond accuracy: what lists and generated titles are like, whether they hit or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from gloss.arrays import Bools, Ints
from gloss.data.catalogue import Catalogue
from gloss.data.example_table import ExampleTable
from gloss.data.generations import Generation
from gloss.data.histories import Example
from gloss.data.history_rows import HistoryRows
from gloss.evaluation.metrics import Floats
from gloss.rankings.ranking import Ranking
from gloss.rankings.table import RankingTable, distinct

__all__ = [
    "ListFigures",
    "TitleFigures",
    "holds_purchases",
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


class ListFigures:
    """What lists are like: give the lists of all users to `add`, some at a time.

    coverage@k: the share of the catalogue that is among anybody's first k items. novelty@k: the
    mean self-information of a user's first k items, averaged over users.

        coverage@k = |∪_u first k of u's list| / |catalogue|
        novelty@k = mean_u mean_{i in first k of u's list} information(i)

    Items that the catalogue lacks do not count, nor do users without a list in the novelty, which
    is 0 where nothing is left. information: float64 (items,), `self_information`.

    Coverage: Herlocker, Konstan, Terveen and Riedl, TOIS 2004, section 4.1; "catalog coverage" of
    Ge, Delgado-Battenfeld and Jannach, RecSys 2010.
    """

    def __init__(
        self, cutoffs: Sequence[int], *, catalogue: Catalogue, information: Floats
    ) -> None:
        self._cutoffs = cutoffs
        self._catalogue = catalogue
        self._information = information
        self._best_ranks = np.full(len(catalogue), max(cutoffs))  # (items,), in anybody's list
        self._sums = dict.fromkeys(cutoffs, 0.0)
        self._users = dict.fromkeys(cutoffs, 0)
        self._without = 0

    def add(self, rankings: Sequence[Ranking]) -> None:
        """The lists of some users, each of whom comes once."""
        lists = RankingTable.of(rankings).first(max(self._cutoffs))
        rows, known = self._rows(lists)
        np.minimum.at(self._best_ranks, rows[known], lists.ranks[known])
        self._without += int((lists.lengths == 0).sum())
        for k in self._cutoffs:
            counted = known & (lists.ranks < k)
            of_user = lists.rows[counted]
            sums = np.bincount(of_user, self._information[rows[counted]], minlength=len(lists))
            counts = np.bincount(of_user, minlength=len(lists))
            self._sums[k] += float((sums[counts > 0] / counts[counts > 0]).sum())
            self._users[k] += int((counts > 0).sum())

    def figures(self) -> dict[str, float]:
        """ "coverage@k" and "novelty@k" for each cutoff, and "users without a list"."""
        size = len(self._catalogue)
        covered = {k: int((self._best_ranks < k).sum()) for k in self._cutoffs}
        return {
            **{f"coverage@{k}": covered[k] / size for k in self._cutoffs},
            **{f"novelty@{k}": self._sums[k] / max(1, self._users[k]) for k in self._cutoffs},
            "users without a list": self._without,
        }

    def _rows(self, lists: RankingTable) -> tuple[Ints, Bools]:
        """int64 and bool (entries,): the row of each entry's item, and whether it has one."""
        names, (codes,) = distinct([lists.entries["items"]])
        catalogue = self._catalogue
        rows = [catalogue.row(item) if item in catalogue else -1 for item in names.to_list()]
        row: Ints = np.array(rows, np.int64)[codes]
        return row, row >= 0


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
