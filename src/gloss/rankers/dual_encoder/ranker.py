"""The dual encoder as a ranker: a mixture of what each of the last purchases makes likely next.

With purchases i = 1 … n, gate g_i from the purchase's recency and title, and p(j | i) from the
dot product of the query embedding of i and the item embedding of j:

    p(j) = Σ_i g_i · p(j | i),   score s(j) = log p(j)

A mean of the purchases would look for something between them; a mixture finds what goes with one
of them. Knows arrays (embeddings.py), not the encoder that made them; needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gloss.arrays import Array
from gloss.artifacts import Artifact, Draft
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import ConfigError
from gloss.progress import Progress
from gloss.rankers.dual_encoder.embeddings import (
    KIND,
    DualEncoderEmbeddings,
    read_embeddings,
    read_text_map,
)
from gloss.rankers.dual_encoder.settings import DualEncoderSettings
from gloss.rankers.ranker import (
    Grown,
    Need,
    RankerParts,
    RankerSpec,
    RankerTraining,
    RankRequest,
)
from gloss.rankers.retraining import shorter
from gloss.rankers.scoring import ScoredHistory, rank_by_scores, rows_of
from gloss.rankers.sources import RankerSources
from gloss.rankings.table import RankingTable
from gloss.retrieval.dense.encoders import Encoder, open_encoder

if TYPE_CHECKING:
    import torch

    from gloss.rankers.dual_encoder.network import Network
    from gloss.rankers.dual_encoder.next_items import DualEncoderNextItems

__all__ = ["SPEC", "DualEncoder"]

_BATCH_USERS = 512
_BATCH_BYTES = 2**30
"""At most so many users at once, and fewer where their arrays would need more bytes than these."""


@dataclass(frozen=True, slots=True, eq=False)
class DualEncoder:
    """Embeddings of the catalogue's titles, and how likely each is after each; with repeats, also
    after itself."""

    embeddings: DualEncoderEmbeddings
    catalogue: Catalogue
    repeats: bool = False

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list by the module's formula.

        An item is there because of the purchase with the largest term in its sum.
        """
        bytes_per_user = 4 * self._recent * len(self.embeddings.query_embeddings)
        users = max(1, min(_BATCH_USERS, _BATCH_BYTES // bytes_per_user))
        return rank_by_scores(request, self.catalogue, self._score, batch_users=users)

    @property
    def _recent(self) -> int:
        """Purchases that count."""
        return len(self.embeddings.recency_logits)

    def _score(self, histories: Sequence[History]) -> Iterator[ScoredHistory]:
        known = self.embeddings
        recent = [history.items[-self._recent :] for history in histories]
        titles = [known.title_rows[rows_of(items, self.catalogue)] for items in recent]
        # Each title is looked up once for all users who bought it.
        distinct = np.unique(np.concatenate(titles))
        next_given = known.next_probabilities(distinct, repeats=self.repeats)  # (distinct, titles)
        for items, bought in zip(recent, titles, strict=True):
            gates = known.mixture_gate(bought)[:, None]  # (purchases, 1)
            terms = gates * next_given[np.searchsorted(distinct, bought)]  # (purchases, titles)
            with np.errstate(divide="ignore"):  # what cannot be next has the score -inf
                scores = np.log(terms.sum(axis=0))[known.title_rows]  # (catalogue,)
            yield ScoredHistory(items, scores, partial(_contributions, terms, known.title_rows))


def _contributions(terms: Array, titles: Array, rows: Array) -> Array:
    """(purchases, rows). terms: (purchases, titles); titles: int64 (catalogue,), of each item."""
    contributions: Array = terms[:, titles[rows]]
    return contributions


def _fit(
    draft: Draft,
    sources: RankerSources,
    settings: DualEncoderSettings,
    *,
    seed: int,
    progress: Progress,
) -> None:
    from gloss.rankers.dual_encoder.training import train_dual_encoder

    train_dual_encoder(
        draft,
        sources.encoder,
        sources.dataset.train(),
        sources.catalogue,
        settings=settings,
        seed=seed,
        progress=progress,
    )


def _refit(
    draft: Draft, grown: Grown, settings: DualEncoderSettings, *, seed: int, progress: Progress
) -> None:
    from gloss.rankers.dual_encoder.training import train_dual_encoder

    with grown.trained.reading(), grown.trained.folder() as folder:
        encoder = open_encoder(str(folder))
        train_dual_encoder(
            draft,
            encoder,
            grown.histories,
            grown.catalogue,
            settings=_going_on(settings),
            seed=seed,
            begin=partial(_begin_from, folder=folder, encoder=encoder, known=grown.known),
            progress=progress,
        )


def _going_on(settings: DualEncoderSettings) -> DualEncoderSettings:
    """Those of a training from old weights: for fewer epochs, and at a tenth of the rates. A few
    steps at the whole rate shake an encoder, and there are none left in which it would recover.

    >>> further = _going_on(DualEncoderSettings(epochs=8, learning_rate=0.001))
    >>> further.epochs, further.learning_rate
    (2, 0.0001)
    """
    rates = {
        name: getattr(settings, name) / 10 for name in ("learning_rate", "residual_learning_rate")
    }
    return settings.model_copy(update={"epochs": shorter(settings.epochs), **rates})


def _begin_from(
    network: Network, titles: Sequence[str], *, folder: Path, encoder: Encoder, known: Catalogue
) -> None:
    """Give a network for these titles what the one in a folder has learned beside its encoder."""
    embeddings, text_map = read_embeddings(folder), read_text_map(folder)
    if text_map is None:
        raise ConfigError(
            "the dual encoder was trained by an earlier version, which has not kept what training "
            "goes on from: train it anew with `gloss fit`"
        )
    items = zip(known, embeddings.title_rows.tolist(), strict=True)
    row_of = {item.title: row for item, row in items}
    rows = np.array([row_of.get(title, -1) for title in titles], np.int64)
    vectors = encoder.encode(titles, role="document")
    network.begin_from(embeddings, text_map, vectors, rows)


def _reads_encoder(settings: DualEncoderSettings) -> frozenset[Need]:
    return frozenset({"encoder"})


def _with_bought(settings: DualEncoderSettings) -> DualEncoderSettings:
    if settings.repeats is not None:
        return settings
    return settings.model_copy(update={"repeats": True})


def _build(parts: RankerParts, settings: DualEncoderSettings) -> DualEncoder:
    trained = parts.trained(SPEC)
    with trained.reading(), trained.folder() as folder:
        embeddings = read_embeddings(folder)
    if added := parts.added(SPEC):
        title_rows = _title_rows(parts.catalogue, embeddings)
        embeddings = embeddings.with_titles(title_rows, added)
    return DualEncoder(embeddings, parts.catalogue, bool(settings.repeats))


def _title_rows(catalogue: Catalogue, trained: DualEncoderEmbeddings) -> Array:
    """int64 (catalogue,): the title of each item, where the first items were trained on; titles
    that no trained item has are numbered as they come, from where the others end."""
    items = zip(catalogue, trained.title_rows.tolist(), strict=False)
    row_of = {item.title: row for item, row in items}
    for item in catalogue:
        row_of.setdefault(item.title, len(row_of))
    return np.array([row_of[item.title] for item in catalogue], np.int64)


def _extend(trained: Artifact, titles: Sequence[str]) -> Mapping[str, Array]:
    """Embeddings of titles that came after the training, by their text alone; none where an earlier
    version has not kept how."""
    with trained.reading(), trained.folder() as folder:
        text_map = read_text_map(folder)
        if text_map is None:
            return {}
        return text_map.embeddings(open_encoder(str(folder)).encode(titles, role="document"))


def _teacher(
    parts: RankerParts, settings: DualEncoderSettings, device: torch.device
) -> DualEncoderNextItems:
    from gloss.rankers.dual_encoder.next_items import DualEncoderNextItems

    known = _build(parts, settings)
    return DualEncoderNextItems(known.embeddings, device, repeats=known.repeats)


SPEC = RankerSpec(
    name="dual-encoder",
    label="Dual encoder",
    settings=DualEncoderSettings,
    build=_build,
    training=RankerTraining(kind=KIND, fit=_fit, needs=_reads_encoder, refit=_refit),
    extend=_extend,
    with_bought=_with_bought,
    teacher=_teacher,
)
