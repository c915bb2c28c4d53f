"""A bundle brought up to date: what was counted, indexed and encoded, of a data set that has grown.

Counts, indexes and the vectors of titles are those of a fit on the whole data set: the same
functions make them, and only new titles are encoded. (The title trie is made from the catalogue
where a bundle is opened.) What was trained stays as it is, byte by byte: the language model, the
fusion, and the networks of rankers, unless they were trained further (retraining.py). Knows bundles
and data sets; no log that a data set grows by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np

from gloss.arrays import Array, Ints
from gloss.artifacts import Artifact, Draft, Recipe, open_artifact
from gloss.config import Settings
from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.evaluation.protocol import protocol_named
from gloss.language.records import KIND as MODEL_KIND
from gloss.progress import Progress, silent
from gloss.rankers.known_items import added_titles
from gloss.rankers.ranker import RankerSpec
from gloss.recommender.bundle import KIND, AsTrained, Bundle, Contents, write_bundle
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from gloss.retrieval.dense.retriever import TitleVectors
from gloss.retrieval.index import index_recipe, write_index
from gloss.retrieval.settings import EncoderSettings

__all__ = ["rankers_of", "title_vectors_of", "update"]


def update(
    bundle: Bundle,
    dataset: Dataset,
    out: Path,
    *,
    retrained: Mapping[str, Artifact] = MappingProxyType({}),
    model: Artifact | None = None,
    encoder: str | None = None,
    progress: Progress = silent,
) -> Artifact:
    """A bundle's parts for the data set that its own has become, as the bundle `out`, which may
    stand where the old one does.

    Its rankers and settings are the same. retrained: all that is trained, by the ranker's name,
    where it was trained on this data set (retraining.py). model: the language model, where it was
    trained on it, too. encoder: that made the vectors of titles,
    where the bundle does not name it, as it lies in a folder. progress counts titles that are
    encoded. Raises ConfigError where new titles need an encoder that nobody names, ArtifactError
    where it is another one.
    """
    inputs = {"bundle": bundle.fingerprint, "dataset": dataset.fingerprint}
    if made_by := bundle.artifact.inputs.get("encoder"):
        inputs["encoder"] = made_by
    inputs |= {name: artifact.fingerprint for name, artifact in retrained.items()}
    if model:
        inputs["model"] = model.fingerprint
    recipe = Recipe(KIND, bundle.settings.to_json(), inputs)
    fill = partial(
        _fill,
        bundle=bundle,
        dataset=dataset,
        retrained=retrained,
        model=model,
        encoder=encoder,
        progress=progress,
    )
    return recipe.make(out, fill)


def _fill(
    draft: Draft,
    *,
    bundle: Bundle,
    dataset: Dataset,
    retrained: Mapping[str, Artifact],
    model: Artifact | None,
    encoder: str | None,
    progress: Progress,
) -> None:
    catalogue = dataset.catalogue(bundle.settings.titles)
    if model is None and bundle.model:
        model = open_artifact(bundle.model, MODEL_KIND)
    train = dataset.train_rows()
    times_bought = dataset.times_bought()
    rankers = rankers_of(bundle)
    with _index(bundle, dataset.fingerprint, catalogue, times_bought, progress) as index:
        contents = Contents(
            catalogue=catalogue,
            times_bought=times_bought,
            index=index,
            model=model,
            fusion=bundle.fusion,
            title_vectors=title_vectors_of(bundle, catalogue, encoder=encoder, progress=progress),
            counts={
                spec.name: spec.count(train, catalogue, settings)
                for spec, settings in rankers
                if spec.count
            },
            trained=retrained
            or {spec.name: bundle.trained(spec) for spec, _ in rankers if spec.training},
            as_trained=None if retrained else _as_trained(bundle, catalogue),
            last_purchase=dataset.last_purchase(),
        )
        write_bundle(draft, contents)


def rankers_of(bundle: Bundle) -> list[tuple[RankerSpec[Any], Settings]]:
    """The rankers with their settings."""
    return [(spec, spec.settings.model_validate(part.settings)) for part, spec in bundle.rankers()]


@contextmanager
def _index(
    bundle: Bundle, dataset: str, catalogue: Catalogue, times_bought: Ints, progress: Progress
) -> Iterator[Artifact]:
    """The bundle's index of these items. dataset: the fingerprint of theirs."""
    old = bundle.index
    recipe = index_recipe(dataset, old.settings)
    fill = partial(
        write_index,
        catalogue=catalogue,
        settings=old.settings,
        times_bought=times_bought,
        previous=old.stored,
        progress=progress,
    )
    with TemporaryDirectory(prefix="gloss-") as folder:
        yield recipe.make(Path(folder) / "index", fill)


def title_vectors_of(
    bundle: Bundle, catalogue: Catalogue, *, encoder: str | None = None, progress: Progress = silent
) -> Array | None:
    """float32 (catalogue, width): those that the bundle has, by title, and of new titles."""
    if not bundle.has_title_vectors:
        return None
    vectors = bundle.title_vectors
    row_of = {title: bundle.catalogue.rows_of_title(title)[0] for title in bundle.catalogue.titles}
    new = [title for title in catalogue.titles if title not in row_of]
    if new:
        settings = _vector_settings(bundle)
        encoded = TitleVectors.encoded(
            new, _encoder(bundle, encoder), settings, progress=progress
        ).vectors
        row_of |= {title: len(vectors) + number for number, title in enumerate(new)}
        vectors = np.concatenate([vectors, encoded])
    of_items: Array = vectors[[row_of[item.title] for item in catalogue]]
    return of_items


def _vector_settings(bundle: Bundle) -> EncoderSettings:
    """How titles are encoded for rankers: as the protocol does that has titles of this style."""
    settings = protocol_named(bundle.settings.titles).index_settings("dense")
    assert isinstance(settings, EncoderSettings)
    return settings


def _encoder(bundle: Bundle, named: str | None) -> Encoder:
    """The encoder that made the vectors of titles, as it was named, or as the bundle names it."""
    name = named or bundle.settings.encoder
    if name is None:
        raise ConfigError(
            "vectors of new titles need the encoder that made the others; it lies in a folder, and "
            "a bundle names none: say which with --encoder FOLDER"
        )
    encoder = open_encoder(name)
    bundle.artifact.require_input("encoder", encoder.fingerprint, f"the encoder {name}")
    return encoder


def _as_trained(bundle: Bundle, catalogue: Catalogue) -> AsTrained | None:
    """What trained rankers know; None where that is this catalogue."""
    trained = bundle.trained_catalogue
    rankers = [(spec, settings) for spec, settings in rankers_of(bundle) if spec.training]
    if not rankers or trained.fingerprint == catalogue.fingerprint:
        return None
    reads_vectors = any("title-vectors" in spec.all_needs(settings) for spec, settings in rankers)
    titles = added_titles(trained, catalogue)
    added = {
        spec.name: spec.extend(bundle.trained(spec), titles) for spec, _ in rankers if spec.extend
    }
    return AsTrained(
        catalogue=trained,
        title_vectors=bundle.trained_vectors if reads_vectors else None,
        added={name: arrays for name, arrays in added.items() if arrays},
    )
