"""The stages of an experiment, one function each: explicit paths in, one artefact out.

A stage whose artefact is already whole, with the same configuration and inputs, is not done again;
one that was interrupted goes on from where it stopped. The commands of `gloss` and `gloss run` are
made of these functions.

Needs torch for `train`, `merge`, `generate` and SASRec only, and imports it there.
"""

from gloss.stages.adapting import merge
from gloss.stages.data import prepare
from gloss.stages.encoder import tune
from gloss.stages.exporting import export
from gloss.stages.items import add_items, remove_items
from gloss.stages.language import estimate, generate, plan, train
from gloss.stages.measuring import evaluate
from gloss.stages.ranking import BASELINES, baseline, index, rank
from gloss.stages.signals import SIGNALS, fuse, needs_vectors, signal, train_sasrec

__all__ = [
    "BASELINES",
    "SIGNALS",
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
    "remove_items",
    "signal",
    "train",
    "train_sasrec",
    "tune",
]
