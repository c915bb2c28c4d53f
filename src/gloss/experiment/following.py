"""What an experiment leaves open, and its data decide: settings as a run really uses them.

Knows settings and a prepared data set; no run folder and no stage.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace

from gloss.data.dataset import Dataset
from gloss.evaluation.protocol import EvaluationProtocol, protocol_named
from gloss.experiment.settings import Experiment, RankersSection
from gloss.experiment.sizing import list_length
from gloss.rankers.specs import ranker_named

__all__ = ["on_data", "protocol_of"]

_LOG = logging.getLogger(__name__)


def protocol_of(experiment: Experiment) -> EvaluationProtocol:
    """The experiment's protocol, with what its ranking section sets instead."""
    wanted = experiment.ranking.model_dump(exclude={"segments"}, exclude_none=True)
    return replace(protocol_named(experiment.protocol), **wanted)


def on_data(experiment: Experiment, data: Dataset) -> Experiment:
    """The experiment with everything set that follows the data where nobody sets it.

    Whether lists leave out what was bought; and with that, which rankers take part, and whether
    they are trained to name it again, and teach it; and how many items rankers bring to the fusion.
    """
    protocol = protocol_of(experiment)
    if experiment.ranking.exclude_seen is None:
        protocol = protocol.on(data.repeats)
    ranking = experiment.ranking.model_copy(update={"exclude_seen": protocol.exclude_seen})
    rankers, distillation = experiment.rankers, experiment.distillation
    if protocol.exclude_seen:
        rankers = _without_bought(rankers)
    elif protocol.follows_data:
        rankers = _with_bought(rankers, {*rankers.use, *distillation.teachers})
        if distillation.bought is None:
            distillation = distillation.model_copy(update={"bought": True})
    if rankers.length is None:
        rankers = rankers.model_copy(update={"length": _list_length(data, protocol)})
    changed = {"ranking": ranking, "rankers": rankers, "distillation": distillation}
    return experiment.model_copy(update=changed)


def _list_length(data: Dataset, protocol: EvaluationProtocol) -> int:
    titles = len(set(data.catalogue(protocol.title_style).titles))
    return list_length(titles, shown=protocol.length)


def _without_bought(rankers: RankersSection) -> RankersSection:
    """Without those that could only list what lists leave out."""
    idle = [name for name in rankers.use if ranker_named(name).lists_bought_alone]
    for name in idle:
        _LOG.warning(
            "%s takes no part: it lists what was bought before, and lists leave that out "
            "(ranking.exclude_seen)",
            name,
        )
    use = tuple(name for name in rankers.use if name not in idle)
    return rankers.model_copy(update={"use": use})


def _with_bought(rankers: RankersSection, names: Collection[str]) -> RankersSection:
    """With the rankers of these names trained to name again what was bought."""
    specs = [ranker_named(name) for name in sorted(names)]
    changed = {s.section: s.with_bought(rankers.of(s)) for s in specs if s.with_bought}
    return rankers.model_copy(update=changed)
