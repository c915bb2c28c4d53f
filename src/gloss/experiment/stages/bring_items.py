"""The stage `bring_items`: the items that a data set holds out come, and nobody has bought them."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.data import dataset as datasets
from gloss.data.dataset import Dataset
from gloss.data.joining import joined_log
from gloss.errors import InputError

__all__ = ["bring_items"]


def bring_items(dataset: Path, out: Path) -> Artifact:
    """The data set at `dataset` with the items that it holds out: the data set at `out`.

    Purchases and split stay as they are, so that whatever is counted of them is the same. Raises
    InputError where it holds nothing out.
    """
    old = Dataset.load(dataset)
    if not old.holds_out_items:
        raise InputError(f"{dataset} holds no items out: prepare it with data.cold_items")

    def fill(draft: Draft) -> None:
        log = joined_log(old, old.cold_items())
        cleaning = datasets.Cleaning(keep_unbought=True)
        datasets.write_dataset(draft, datasets.prepare(log, split=old.split, cleaning=cleaning))

    recipe = Recipe(datasets.KIND, old.config.to_json(), {"dataset": old.fingerprint})
    return recipe.make(out, fill)
