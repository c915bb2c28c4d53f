"""SASRec as a ranker: the items that trained networks hold most likely next.

Needs no torch to be imported; training and ranking import it when they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gloss.artifacts import Draft
from gloss.data.catalogue import Catalogue
from gloss.data.histories import History
from gloss.errors import require_extra
from gloss.progress import Progress
from gloss.rankers.ranker import (
    CHECKPOINTS,
    Grown,
    Need,
    RankerParts,
    RankerSpec,
    RankerTraining,
    RankRequest,
)
from gloss.rankers.retraining import known_rows, shorter
from gloss.rankers.sasrec.settings import SASRecSettings
from gloss.rankers.scoring import ScoredHistory, dot_products, rank_by_scores, rows_of
from gloss.rankers.sources import RankerSources
from gloss.rankings.table import RankingTable
from gloss.training.processes import is_first_process

if TYPE_CHECKING:
    import torch

    from gloss.rankers.sasrec.ensemble import Ensemble
    from gloss.rankers.sasrec.network import Network

    Trained = tuple[Network, list[dict[str, float]]]

__all__ = ["SPEC", "SASRec"]

_BATCH_USERS = 512
"""Users whose scores for the whole catalogue are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class SASRec:
    """Networks that were trained with different seeds, whose log-probabilities are averaged."""

    ensemble: Ensemble
    catalogue: Catalogue

    def rank(self, request: RankRequest) -> RankingTable:
        """Everybody's list: the likeliest items, scored by log-probability.

        An item is there because of the purchase whose embedding (of the first network) is most like
        its own.
        """
        return rank_by_scores(request, self.catalogue, self._score, batch_users=_BATCH_USERS)

    def _score(self, histories: Sequence[History]) -> Iterator[ScoredHistory]:
        embeddings = self.ensemble.vectors  # (catalogue, width)
        scores = self.ensemble.log_probabilities(histories, self.catalogue)  # (users, catalogue)
        for history, row in zip(histories, scores, strict=True):
            purchases = embeddings[rows_of(history.items, self.catalogue)]  # (purchases, width)
            yield ScoredHistory(history.items, row, partial(dot_products, purchases, embeddings))


def network_file(number: int) -> str:
    """Where the weights of a network lie in the artefact."""
    return f"network-{number}.safetensors"


def _fit(
    draft: Draft,
    sources: RankerSources,
    settings: SASRecSettings,
    *,
    seed: int,
    progress: Progress,
) -> None:
    from gloss.rankers.sasrec.training import train_network

    trained = partial(
        train_network,
        sources.dataset.train(),
        sources.catalogue,
        vectors=sources.title_vectors if settings.text else None,
        settings=settings,
        progress=progress,
    )
    _train_networks(draft, lambda _: trained, networks=settings.networks, seed=seed)


def _refit(
    draft: Draft, grown: Grown, settings: SASRecSettings, *, seed: int, progress: Progress
) -> None:
    from gloss.rankers.sasrec.network import begin_from
    from gloss.rankers.sasrec.training import train_network

    trained = partial(
        train_network,
        grown.histories,
        grown.catalogue,
        vectors=grown.title_vectors if settings.text else None,
        settings=settings.model_copy(update={"epochs": shorter(settings.epochs)}),
        progress=progress,
    )
    rows = known_rows(grown.known, grown.catalogue)

    def from_old(number: int) -> Callable[..., Trained]:
        file = grown.trained.file(network_file(number))
        return partial(trained, begin=partial(begin_from, file=file, rows=rows))

    with grown.trained.reading():
        _train_networks(draft, from_old, networks=settings.networks, seed=seed)


def _train_networks(
    draft: Draft, trained: Callable[[int], Callable[..., Trained]], *, networks: int, seed: int
) -> None:
    """Train network after network; a file that stands there under its own name is whole.

    trained: of a network's number, the call of `train_network` but for seed and checkpoint.
    """
    from gloss.rankers.sasrec.network import count_parameters, save_network
    from gloss.training.optimization import threads_for_summary

    for number in range(networks):
        if draft.is_finished(network_file(number)):
            continue
        checkpoint = draft.path / CHECKPOINTS / f"{number}.pt"
        network, losses = trained(number)(seed=seed + number, checkpoint=checkpoint)
        if not is_first_process():
            continue
        draft.write_lines(f"losses-{number}.jsonl", losses)
        written = draft.path / CHECKPOINTS / network_file(number)
        save_network(network, written)
        written.replace(draft.path / network_file(number))
        draft.finish(network_file(number), [network_file(number), f"losses-{number}.jsonl"])
    if not is_first_process():
        return
    draft.summary["parameters"] = count_parameters(draft.path / network_file(0))
    draft.summary.update(threads_for_summary())


def _build(
    parts: RankerParts, settings: SASRecSettings, device: torch.device | None = None
) -> SASRec:
    _require_installed()
    from gloss.rankers.sasrec.ensemble import Ensemble
    from gloss.rankers.sasrec.network import load_network

    trained = parts.trained(SPEC)
    with trained.reading():
        networks = [
            load_network(
                trained.file(network_file(number)),
                parts.catalogue,
                vectors=parts.title_vectors if settings.text else None,
                settings=settings,
                device=str(device) if device else None,
            )
            for number in range(settings.networks)
        ]
    return SASRec(Ensemble(networks), parts.catalogue)


def _teacher(parts: RankerParts, settings: SASRecSettings, device: torch.device) -> Ensemble:
    return _build(parts, settings, device).ensemble


def _needs(settings: SASRecSettings) -> frozenset[Need]:
    return frozenset({"title-vectors"}) if settings.text else frozenset()


def _require_installed() -> None:
    require_extra("SASRec", "train", "torch", "safetensors")


SPEC = RankerSpec(
    name="sasrec",
    label="SASRec",
    settings=SASRecSettings,
    build=_build,
    needs=_needs,
    training=RankerTraining(kind="sasrec", fit=_fit, needs=_needs, refit=_refit),
    teacher=_teacher,
    without_vectors=SASRecSettings(text=False),
    require_installed=_require_installed,
)
