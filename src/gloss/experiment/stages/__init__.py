"""The stages of an experiment, one function each: explicit paths in, one artefact out.

A stage whose artefact is already whole, with the same configuration and inputs, is not done again;
one that was interrupted goes on from where it stopped. The commands of `gloss` and `gloss run` are
made of these functions.

Needs torch for `train`, `merge`, `generate` and SASRec only, and imports it there.
"""

from gloss.experiment.stages.evaluate import evaluate
from gloss.experiment.stages.export import export
from gloss.experiment.stages.fuse import RANKERS, fuse, needs_vectors, ranker, train_sasrec
from gloss.experiment.stages.items import add_items, remove_items
from gloss.experiment.stages.prepare import prepare
from gloss.experiment.stages.rank import BASELINES, baseline, index, rank
from gloss.experiment.stages.train import estimate, generate, plan, train
from gloss.experiment.stages.train_dual_encoder import tune
from gloss.experiment.stages.train_lora import merge

__all__ = [
    "BASELINES",
    "RANKERS",
    "add_items",
    "baseline",
    "estimate",
    "evaluate",
    "export",
    "fuse",
    "generate",
    "index",
    "merge",
    "needs_vectors",
    "plan",
    "prepare",
    "rank",
    "ranker",
    "remove_items",
    "train",
    "train_sasrec",
    "tune",
]
