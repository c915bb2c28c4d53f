"""Common words of titles: what is called as a user's last purchases are, rare words counting more.

The cosine of titles as bags of words, each word once, weighted as BM25 weighs it (the logarithm of
how few titles hold it): Spärck Jones, Journal of Documentation 1972. A series, a maker or a size is
a word, which vectors of meaning blur. Knows titles; nothing is trained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Question
from gloss.progress import Progress, silent
from gloss.rankers.ranker import RankerSpec, RecentPurchases
from gloss.rankers.scoring import Array, Shares, fading, reached, remembered
from gloss.rankings.table import RankingTable

__all__ = ["SPEC", "WordOverlapSettings", "Words", "common_words", "weigh_words"]


class WordOverlapSettings(RecentPurchases):
    """Word overlap: nothing but which purchases count."""


_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Words:
    """The catalogue's titles as rows of weights of length 1, by title and by word.

    words, weights: for each item int64 (words of its title,) and float32, what each weighs there;
    items, shares: for each word int64 (titles that hold it,) and float32, what it weighs in each.
    """

    words: list[Array]
    weights: list[Array]
    items: list[Array]
    shares: list[Array]

    def cosines(self, row: int) -> Array:
        """float32 (catalogue,): how like an item's title every title is."""
        found = np.zeros(len(self.words), np.float32)
        for word, weight in zip(self.words[row].tolist(), self.weights[row].tolist(), strict=True):
            found[self.items[word]] += weight * self.shares[word]
        return found


def weigh_words(catalogue: Catalogue) -> Words:
    """Count the words of all titles, and weigh them."""
    titles = [sorted(set(_WORD.findall(item.title.lower()))) for item in catalogue]
    known = {word: n for n, word in enumerate(sorted({w for title in titles for w in title}))}
    words = [np.array([known[word] for word in title], np.int64) for title in titles]
    row_of = np.repeat(np.arange(len(words)), [len(each) for each in words])
    flat = np.concatenate([np.empty(0, np.int64), *words])
    holding = np.bincount(flat, minlength=len(known))
    rarity = np.log1p((len(words) - holding + 0.5) / (holding + 0.5)).astype(np.float32)
    lengths = np.sqrt(np.bincount(row_of, rarity[flat] ** 2, minlength=len(words)))
    weights = (rarity[flat] / lengths[row_of]).astype(np.float32)
    by_word = np.argsort(flat, kind="stable")
    ends = np.cumsum(holding)[:-1]
    return Words(
        words,
        np.split(weights, np.cumsum([len(each) for each in words])[:-1]),
        np.split(row_of[by_word], ends),
        np.split(weights[by_word], ends),
    )


def common_words(
    words: Words,
    questions: Sequence[Question],
    catalogue: Catalogue,
    *,
    settings: WordOverlapSettings,
    length: int,
    exclude_seen: bool,
    progress: Progress = silent,
) -> RankingTable:
    """Each user's list by the mean cosine with the last `recent` purchases, later ones counting
    more (`decay`).

    Items that share no word with any of them are left out. An item is there because of the purchase
    with the largest share in its mean.
    """
    size = len(catalogue)
    cosines = remembered(words.cosines, size=4 * size)

    def around(history: Sequence[ItemId]) -> tuple[Array, Shares]:
        fades = fading(len(history), settings.decay)
        weights = fades / fades.sum()
        found = [cosines(catalogue.row(item)) for item in history]
        scores = np.zeros(size, np.float32)
        for each, weight in zip(found, weights, strict=True):
            scores += each * weight
        return scores, lambda rows: np.stack([each[rows] for each in found]) * weights[:, None]

    return reached(
        around,
        questions,
        catalogue,
        settings=settings,
        length=length,
        exclude_seen=exclude_seen,
        progress=progress,
    )


SPEC = RankerSpec("word-overlap", "Word overlap", WordOverlapSettings)
