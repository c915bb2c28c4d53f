"""Word overlap: items whose titles share words with those of a user's last purchases.

The score of item j for purchases i = 1 … n, as of title similarity, is a weighted mean of cosines:

    s(j) = Σ_i w_i · cos(t_i, t_j)  /  Σ_i w_i,   w_i = decay^age(i)

A title t is a bag of words, each word once, weighted as BM25 weighs it, by how few titles hold it:
Spärck Jones, Journal of Documentation 1972. A series, a maker or a size is a word, which sentence
vectors blur. Nothing is trained.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gloss.arrays import Array, Ints
from gloss.data.catalogue import Catalogue, ItemId
from gloss.rankers.ranker import RankerParts, RankerSpec, RankRequest
from gloss.rankers.scoring import Contributions, cached_by_row, rank_by_recent, recency_weights
from gloss.rankers.settings import RecentPurchases
from gloss.rankings.table import RankingTable
from gloss.retrieval.lexical.words import words_of

__all__ = ["SPEC", "TitleWords", "WordOverlap", "WordOverlapSettings"]

_WORD = re.compile(r"\w+")
_any_script = words_of("any-script")


class WordOverlapSettings(RecentPurchases):
    """Word overlap: nothing but which purchases count."""


@dataclass(frozen=True, slots=True, eq=False)
class TitleWords:
    """The matrix of titles and words, whose rows have length 1, by row and by column.

    By title: `words`, for each title int64 (its words,), and `weights`, float32 (its words,). By
    word: `titles`, for each word int64 (titles that hold it,), and `shares`, float32 (these
    titles,), the word's weight in each.
    """

    words: list[Array]
    weights: list[Array]
    titles: list[Array]
    shares: list[Array]

    @classmethod
    def of(cls, catalogue: Catalogue) -> TitleWords:
        """Count the words of all titles, and weigh them.

        A word that `n` of `N` titles hold has the weight log(1 + (N - n + 0.5) / (n + 0.5)). With
        titles "red kite" and "red ball", `flat` is the words ball kite red by number, title after
        title, and `title_of` says whose each is:

            words       [1 2]  [0 2]
            flat         1 2    0 2       # (occurrences,)
            title_of     0 0    1 1       # (occurrences,)
            holding      1 1 2            # (words,), titles that hold each
        """
        titles = [sorted(set(_words(item.title))) for item in catalogue]
        vocabulary = {
            word: n for n, word in enumerate(sorted({w for title in titles for w in title}))
        }
        words = [np.array([vocabulary[word] for word in title], np.int64) for title in titles]
        flat = np.concatenate([np.empty(0, np.int64), *words])
        title_of = np.repeat(np.arange(len(words)), [len(each) for each in words])
        holding = np.bincount(flat, minlength=len(vocabulary))
        rarity = np.log1p((len(words) - holding + 0.5) / (holding + 0.5)).astype(np.float32)
        norms = np.sqrt(np.bincount(title_of, rarity[flat] ** 2, minlength=len(words)))
        weights = (rarity[flat] / norms[title_of]).astype(np.float32)
        by_word = np.argsort(flat, kind="stable")
        ends_of_words = np.cumsum(holding)[:-1]
        ends_of_titles = np.cumsum([len(each) for each in words])[:-1]
        return cls(
            words,
            np.split(weights, ends_of_titles),
            np.split(title_of[by_word], ends_of_words),
            np.split(weights[by_word], ends_of_words),
        )

    def cosines(self, row: int) -> Array:
        """float32 (catalogue,): the cosine of one title with every title."""
        cosines = np.zeros(len(self.words), np.float32)
        words, weights = self.words[row].tolist(), self.weights[row].tolist()
        for word, weight in zip(words, weights, strict=True):
            cosines[self.titles[word]] += weight * self.shares[word]
        return cosines


def _words(title: str) -> list[str]:
    """Runs of letters and digits, one letter too; in other scripts what BM25 takes for words."""
    return _WORD.findall(title.lower()) if title.isascii() else _any_script(title)


class WordOverlap:
    """Titles of a catalogue, compared by their words."""

    def __init__(
        self,
        catalogue: Catalogue,
        settings: WordOverlapSettings,
        times_bought: Ints | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._times_bought = times_bought
        self._settings = settings
        cosines = TitleWords.of(catalogue).cosines
        self._cosines: Callable[[int], Array] = cached_by_row(
            cosines, entry_bytes=4 * len(catalogue)
        )

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula; items without a common word are left out."""
        return rank_by_recent(
            request,
            self._catalogue,
            self._score,
            settings=self._settings,
            times_bought=self._times_bought,
        )

    def _score(self, items: Sequence[ItemId]) -> tuple[Array, Contributions]:
        weights = recency_weights(len(items), self._settings.decay)
        shares = weights / weights.sum()  # (purchases,)
        cosines = [self._cosines(self._catalogue.row(item)) for item in items]
        scores = np.zeros(len(self._catalogue), np.float32)
        for of_purchase, share in zip(cosines, shares, strict=True):
            scores += of_purchase * share

        def contributions(rows: Array) -> Array:
            of_rows: Array = np.stack([each[rows] for each in cosines]) * shares[:, None]
            return of_rows

        return scores, contributions


def _build(parts: RankerParts, settings: WordOverlapSettings) -> WordOverlap:
    return WordOverlap(parts.catalogue, settings, parts.times_bought)


SPEC = RankerSpec(
    name="word-overlap", label="Word overlap", settings=WordOverlapSettings, build=_build
)
