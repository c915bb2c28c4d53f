"""Histories as the documents that a model from zero is trained on.

A document is the newline, then each title and a newline. One that is longer than the context loses
whole oldest titles, and is never cut inside one.

Knows titles and tokens; knows no weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerFast

from gloss.arrays import Array, Ints, owners_of, ranks_of, reduced_by_list, slices_of, starts_of
from gloss.config import Training
from gloss.data.catalogue import Catalogue, ItemId
from gloss.data.histories import Example, History
from gloss.errors import ConfigError
from gloss.language.packing import Document
from gloss.language.scratch.packed_training import DocumentsOfEpoch

__all__ = ["Documents"]


class Documents:
    """The titles of a catalogue as tokens, and histories made of them.

    end: the token of the newline.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
    ) -> None:
        self.end = int(tokenizer.eos_token_id)
        self.context = context
        ids = tokenizer([item.title for item in catalogue], add_special_tokens=False)["input_ids"]
        titles = [np.array([*title, self.end], np.int32) for title in ids]
        self._rows = {item.id: row for row, item in enumerate(catalogue)}
        # The tokens of all titles one after the other; title r has _lengths[r] from _starts[r] on.
        self._tokens = np.concatenate(titles)
        self._lengths = np.array([len(title) for title in titles])
        self._starts = starts_of(self._lengths)

    def of(self, items: Sequence[ItemId]) -> Array:
        """The document of a history, int32 (tokens,)."""
        (document,) = self._written(self.rows_of(items), np.array([len(items)]))
        return document

    def require_room(self) -> None:
        """Raise ConfigError if every title is longer than the context."""
        shortest = 1 + int(self._lengths.min())
        if shortest > self.context:
            raise ConfigError(
                f"a context of {self.context} tokens holds no title: the shortest takes {shortest}"
            )

    def too_long(self) -> list[ItemId]:
        """The items whose title no document holds, nor leaves room to be written."""
        long = self._lengths >= self.context // 2
        return [item for item, row in self._rows.items() if long[row]]

    def epochs(
        self, histories: Sequence[History], settings: Training, *, seed: int
    ) -> DocumentsOfEpoch:
        """The documents of each epoch, one a history, which is augmented as `settings` say.

        Histories of which the context holds no title have none.
        """
        rows = self.rows_of([item for history in histories for item in history.items])
        counts = np.array([len(history.items) for history in histories])

        def documents_of(epoch: int) -> list[Document]:
            rng = np.random.default_rng((seed, epoch, 0))
            order, kept_counts = _augmented(counts, settings, rng)
            documents = self._written(rows[order], kept_counts)
            return [Document.of(each) for each in documents if _holds_a_title(each)]

        return documents_of

    def continued(self, histories: Sequence[Ints], titles: Ints) -> list[Document]:
        """A document of each history and the titles that follow it, which alone carry loss.

        histories: rows of items; titles: (histories, titles), rows as well. Where the context holds
        none of it, there is no document.
        """
        following = titles.shape[1]
        rows = np.concatenate(
            [part for pair in zip(histories, titles, strict=True) for part in pair]
        )
        counts = np.array([len(history) + following for history in histories])
        lengths = self._lengths[titles]  # (histories, titles)
        loss_tokens = np.where(lengths < self.context, lengths, 0).sum(1)
        return [
            Document(document, min(int(loss), len(document) - 1))
            for document, loss in zip(self._written(rows, counts), loss_tokens, strict=True)
            if _holds_a_title(document)
        ]

    def examples(self, examples: Sequence[Example]) -> list[tuple[Array, int]]:
        """For each example its document, target included, and how many tokens the target has.

        Those whose target is longer than the context are left out.
        """
        tokens = [int(self._lengths[self._rows[example.target]]) for example in examples]
        return [
            (self.of((*example.history, example.target)), count)
            for example, count in zip(examples, tokens, strict=True)
            if count < self.context
        ]

    def rows_of(self, items: Sequence[ItemId]) -> Ints:
        """The items' places in the catalogue."""
        return np.array([self._rows[item] for item in items], np.int64)

    def _written(self, rows: Ints, counts: Ints) -> list[Array]:
        """The documents of many users, int32 (tokens,) each.

        rows: of the purchases of all users one after the other; counts: (users,), how many each
        has. With the titles 0 = `5 6 .` and 1 = `7 .`, where `.` is the newline:

            rows 1 0 1, counts 2 1    ->    . 7 . 5 6 .   and   . 7 .
        """
        rows, counts = self._cut_to_context(rows, counts)
        lengths = self._lengths[rows]  # (purchases,)
        # Each document begins with one more newline, and so do those before it.
        begins = starts_of(lengths) + owners_of(counts) + 1  # (purchases,)
        tokens = np.full(lengths.sum() + len(counts), self.end, np.int32)
        tokens[slices_of(begins, lengths)] = self._tokens[slices_of(self._starts[rows], lengths)]
        document_lengths = 1 + reduced_by_list(np.add, lengths, counts)  # (users,)
        return np.split(tokens, document_lengths.cumsum()[:-1])

    def _cut_to_context(self, rows: Ints, counts: Ints) -> tuple[Ints, Ints]:
        """Without titles too long for any document, and without the oldest purchases of users whose
        documents would be too long.

        With lengths 3 2 2 and a context of 6, the tokens from a purchase to the end, 7 4 2, leave
        room for the newline at the beginning where they are below 6: the last two stay.
        """
        alone = self._lengths[rows] < self.context  # with the newline at the beginning
        counts = np.bincount(owners_of(counts)[alone], minlength=len(counts))
        rows = rows[alone]
        lengths = self._lengths[rows]
        totals = reduced_by_list(np.add, lengths, counts)  # (users,)
        before = starts_of(lengths) - np.repeat(starts_of(totals), counts)  # of the same user
        fits = np.repeat(totals, counts) - before < self.context  # (purchases,)
        return rows[fits], np.bincount(owners_of(counts)[fits], minlength=len(counts))


def _holds_a_title(document: Array) -> bool:
    """Not where every title alone is longer than the context."""
    return len(document) > 1


def _augmented(counts: Ints, settings: Training, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Which purchases an epoch reads, in its order, and how many of each user.

    counts: (users,), purchases of each, which stand one after the other. A user's last purchase is
    never left out.
    """
    users, ranks = owners_of(counts), ranks_of(counts)  # (purchases,), rank 0 is the earliest
    # A random start: a share of the users begins at a random purchase.
    starts_late = rng.random(len(counts)) < settings.random_start
    first_ranks = np.where(starts_late, (rng.random(len(counts)) * counts).astype(int), 0)
    is_last = ranks == np.repeat(counts - 1, counts)
    is_kept = rng.random(len(users)) >= settings.dropped
    kept = (ranks >= first_ranks[users]) & (is_last | is_kept)
    # The order: by rank plus a jitter, which a share of the users reads backwards.
    keys = ranks + settings.jitter * rng.random(len(users))
    keys *= np.where(rng.random(len(counts)) < settings.reversed, -1, 1)[users]
    order = np.lexsort((keys, users))
    return order[kept[order]], np.bincount(users[kept], minlength=len(counts))
