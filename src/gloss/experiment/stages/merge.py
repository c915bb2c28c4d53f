"""The stage `merge`: an adapter and its base model as one whole model."""

from __future__ import annotations

from pathlib import Path

from gloss.artifacts import Artifact, Draft, Recipe
from gloss.config import Loading
from gloss.errors import InputError

__all__ = ["merge"]


def merge(adapter: Path, out: Path, *, base: Path | None = None) -> Artifact:
    """Write an adapter and its base model as one whole model: the model folder at `out`.

    Raises InputError for a folder that holds no adapter.
    """
    from gloss.language.loading import (
        base_of,
        load_language_model,
        model_artifact,
        save_language_model,
    )
    from gloss.language.records import KIND

    ours, beneath = model_artifact(adapter), base_of(adapter, base)
    if beneath is None:
        raise InputError(f"{adapter} is a whole model: there is nothing to merge")
    if ours is None:
        raise InputError(f"{adapter} was not made by gloss: which data it is of is not known")

    def fill(draft: Draft) -> None:
        save_language_model(draft, load_language_model(adapter, loading=Loading(base=base)))
        draft.summary.update(ours.summary)

    recipe = Recipe(KIND, ours.config, {**ours.inputs, "adapter": ours.fingerprint})
    return recipe.make(out, fill)
