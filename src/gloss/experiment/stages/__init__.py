"""The stages of an experiment, one function each: explicit paths in, one artefact out.

A stage whose artefact is already whole, with the same configuration and inputs, is not done again;
one that was interrupted goes on from where it stopped. The commands of `gloss` and `gloss run` are
made of these functions.

Needs torch for `train`, `merge`, `generate` and some rankers only, and imports it there.
"""

from gloss.experiment.stages.bring_items import bring_items
from gloss.experiment.stages.evaluate import evaluate
from gloss.experiment.stages.export import export
from gloss.experiment.stages.fuse import fuse
from gloss.experiment.stages.generate import estimate, generate, generate_by_server
from gloss.experiment.stages.import_ranking import import_ranking
from gloss.experiment.stages.index import index
from gloss.experiment.stages.items import add_items, remove_items
from gloss.experiment.stages.join import join, log_of
from gloss.experiment.stages.merge import merge
from gloss.experiment.stages.prepare import prepare
from gloss.experiment.stages.rank import rank
from gloss.experiment.stages.run_ranker import run_ranker
from gloss.experiment.stages.train import plan, train, train_further
from gloss.experiment.stages.train_ranker import train_ranker

__all__ = [
    "add_items",
    "bring_items",
    "estimate",
    "evaluate",
    "export",
    "fuse",
    "generate",
    "generate_by_server",
    "import_ranking",
    "index",
    "join",
    "log_of",
    "merge",
    "plan",
    "prepare",
    "rank",
    "remove_items",
    "run_ranker",
    "train",
    "train_further",
    "train_ranker",
]
