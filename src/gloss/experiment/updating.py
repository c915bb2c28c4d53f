"""The way from a bundle to the next day's: `gloss update`.

Knows where the data set lies that a bundle was made of, and where the next one goes; what is
brought up to date, and how, stands in recommender/updating.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gloss.artifacts import MANIFEST, Artifact
from gloss.data.dataset import Dataset
from gloss.errors import ArtifactError, ConfigError, InputError
from gloss.experiment import stages
from gloss.experiment.pipeline import Announce, quietly
from gloss.recommender import retraining, updating
from gloss.recommender.bundle import Bundle, open_bundle

__all__ = ["data_beside", "data_of", "retrained_beside", "update"]


def data_beside(bundle: Path) -> Path:
    """Where `update` puts the data set of the bundle that it writes."""
    return bundle.with_name(f"{bundle.name}-data")


def retrained_beside(bundle: Path) -> Path:
    """Where `update` trains the networks of the bundle that it writes."""
    return bundle.with_name(f"{bundle.name}-retrained")


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
    retrain: bool = False,
    encoder: str | None = None,
    announce: Announce = quietly,
) -> Artifact:
    """Bring a bundle up to date with new purchases, new items and items that are gone: the bundle
    `out`, which may be `bundle` itself.

    interactions, items: sources as `TableData` has them. removed: a file of ids, one a line. data:
    the data set that the bundle was made of; without it, what `gloss update` or `gloss fit` has
    left beside the bundle. joined: where the data set of both is put, for the next update; without
    it, beside `out`. retrain: whether the networks of rankers and a language model from zero are
    trained further, from their weights, on all purchases; then nothing need be new. encoder: of the
    vectors of titles, where it lies in a folder, which the bundle does not name. The same call ends
    an update that was killed, and changes nothing where it is done.

    Raises ConfigError where nothing is to be done, InputError where the data set is not found, and
    what `stages.join`, `retraining.retrain` and `updating.update` raise.
    """
    is_new = bool(interactions or items or removed is not None)
    if not is_new and not retrain:
        raise ConfigError(
            "nothing is new: name purchases, items or a file of removed items, or train further on "
            "what there is with --retrain"
        )
    old = open_bundle(Path(bundle))
    made_of = old.artifact.inputs["dataset"]
    data = data or _data_of(Path(bundle), made_of)
    if is_new:
        with announce("join") as progress:
            grown = stages.join(
                data,
                joined or data_beside(Path(out)),
                fingerprint=made_of,
                interactions=interactions,
                items=items,
                removed=removed,
                progress=progress,
            )
    else:
        grown = Dataset.load(data).artifact
        _require_same(grown, made_of)
    dataset, retrained, model = Dataset.load(grown.path), {}, None
    is_itself = grown.fingerprint == made_of and Path(out).resolve() == Path(bundle).resolve()
    if is_itself and (not retrain or retraining.is_done(old, dataset)):
        return old.artifact
    if retrain:
        retraining.require_networks(old)
        folder = retrained_beside(Path(out))
        with announce("retrain") as progress:
            retrained = retraining.retrain(old, dataset, folder, encoder=encoder, progress=progress)
        model = _retrained_model(old, dataset, folder / "model", announce)
    with announce("update") as progress:
        return updating.update(
            old,
            dataset,
            Path(out),
            retrained=retrained,
            model=model,
            encoder=encoder,
            progress=progress,
        )


def _retrained_model(
    bundle: Bundle, dataset: Dataset, out: Path, announce: Announce
) -> Artifact | None:
    """The language model, trained on this data set; None where it stays as it is."""
    model = retraining.model_to_retrain(bundle)
    if model is None or model.inputs.get("dataset") == dataset.fingerprint:
        return model
    with announce("train") as progress:
        return stages.train_further(model, dataset, out, progress=progress)


def _require_same(data: Artifact, fingerprint: str) -> None:
    if data.fingerprint != fingerprint:
        raise ArtifactError(f"{data.path} is not the data set that the bundle was made of")


def _data_of(bundle: Path, fingerprint: str) -> Path:
    """The data set beside a bundle; one with this fingerprint, where one has it."""
    left = [data_beside(bundle), bundle.with_name(f"{bundle.name}-parts") / "data"]
    found = [path for path in left if (path / MANIFEST).is_file()]
    if not found:
        raise InputError(
            f"the data set that {bundle} was made of is neither {left[0]} nor {left[1]}: name it"
        )
    return next((path for path in found if Dataset.load(path).fingerprint == fingerprint), found[0])
