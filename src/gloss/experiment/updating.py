"""The way from a bundle to the next day's: `gloss update`.

Knows where the data set lies that a bundle was made of, and where the next one goes; what is
brought up to date, and how, stands in recommender/updating.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gloss.artifacts import MANIFEST, Artifact
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError
from gloss.experiment import stages
from gloss.experiment.pipeline import Announce, quietly
from gloss.recommender import updating
from gloss.recommender.bundle import open_bundle

__all__ = ["data_beside", "data_of", "update"]


def data_beside(bundle: Path) -> Path:
    """Where `update` puts the data set of the bundle that it writes."""
    return bundle.with_name(f"{bundle.name}-data")


def data_of(bundle: Path) -> Path:
    """The data set that `update` would take for the one that a bundle was made of."""
    return _data_of(bundle, open_bundle(bundle).artifact.inputs["dataset"])


def update(
    bundle: Path,
    out: Path,
    *,
    interactions: Sequence[str] = (),
    items: Sequence[str] = (),
    removed: Path | None = None,
    data: Path | None = None,
    joined: Path | None = None,
    announce: Announce = quietly,
) -> Artifact:
    """Bring a bundle up to date with new purchases, new items and items that are gone: the bundle
    `out`, which may be `bundle` itself.

    interactions, items: sources as `TableData` has them. removed: a file of ids, one a line. data:
    the data set that the bundle was made of; without it, what `gloss update` or `gloss fit` has
    left beside the bundle. joined: where the data set of both is put, for the next update; without
    it, beside `out`. The same call ends an update that was killed, and changes nothing where it is
    done.

    Raises ConfigError where nothing is named that is new, InputError where the data set is not
    found, and what `stages.join` and `updating.update` raise.
    """
    if not interactions and not items and removed is None:
        raise ConfigError("nothing is new: name purchases, items or a file of removed items")
    old = open_bundle(Path(bundle))
    made_of = old.artifact.inputs["dataset"]
    with announce("join") as progress:
        grown = stages.join(
            data or _data_of(Path(bundle), made_of),
            joined or data_beside(Path(out)),
            fingerprint=made_of,
            interactions=interactions,
            items=items,
            removed=removed,
            progress=progress,
        )
    if grown.fingerprint == made_of and Path(out).resolve() == Path(bundle).resolve():
        return old.artifact
    with announce("update") as progress:
        return updating.update(old, Dataset.load(grown.path), Path(out), progress=progress)


def _data_of(bundle: Path, fingerprint: str) -> Path:
    """The data set beside a bundle; one with this fingerprint, where one has it."""
    left = [data_beside(bundle), bundle.with_name(f"{bundle.name}-parts") / "data"]
    found = [path for path in left if (path / MANIFEST).is_file()]
    if not found:
        raise InputError(
            f"the data set that {bundle} was made of is neither {left[0]} nor {left[1]}: name it"
        )
    return next((path for path in found if Dataset.load(path).fingerprint == fingerprint), found[0])
