"""The stages of an experiment, one function each: explicit paths in, one artefact out.

A stage whose artefact is already whole, with the same configuration and inputs, is not done again;
one that was interrupted goes on from where it stopped. The commands of `gloss` and `gloss run` are
made of these functions.

Needs torch for `train` and `generate` only, and imports it there.
"""

from gloss.stages.data import prepare
from gloss.stages.encoder import tune
from gloss.stages.items import add_items, remove_items
from gloss.stages.language import estimate, generate, train
from gloss.stages.measuring import evaluate
from gloss.stages.ranking import BASELINES, baseline, index, rank

__all__ = [
    "BASELINES",
    "add_items",
    "baseline",
    "estimate",
    "evaluate",
    "generate",
    "index",
    "prepare",
    "rank",
    "remove_items",
    "train",
    "tune",
]
