"""A bundle whose encoder of titles lies in a folder: it holds no path, and can be updated."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gloss.artifacts import Artifact
from gloss.errors import ArtifactError, ConfigError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.updating import update
from gloss.recommender.bundle import open_bundle
from gloss.retrieval.dense.encoders import open_encoder
from gloss.retrieval.settings import ENCODER
from preparing import csv_items, csv_log, purchases, write


@pytest.fixture(scope="module")
def encoder(minilm, tmp_path_factory) -> Path:
    """An encoder of one's own: the named one in another folder."""
    folder = tmp_path_factory.mktemp("encoders") / "own"
    return shutil.copytree(open_encoder(ENCODER).folder, folder)


@pytest.fixture(scope="module")
def bundle(encoder, tmp_path_factory) -> Artifact:
    folder = tmp_path_factory.mktemp("own-encoder")
    log, items = write(folder / "log.csv", csv_log(purchases())), folder / "items.csv"
    write(items, csv_items())
    write(folder / "new.csv", "item,title\nk9,Red kite tail\n")
    settings = {
        "name": "own",
        "data": {"source": "table", "interactions": [str(log)], "items": [str(items)]},
        "rankers": {"use": ["title-similarity"], "encoder": str(encoder)},
    }
    return fit(
        with_overrides(settings, []), folder / "own", parts=folder / "own-parts", model=False
    )


def news(bundle: Artifact) -> dict[str, object]:
    return {"items": [str(bundle.path.with_name("new.csv"))]}


def test_it_is_updated_with_the_folder_and_says_so_without(bundle, encoder):
    out = bundle.path.with_name("updated")
    with pytest.raises(ConfigError, match="say which with --encoder FOLDER"):
        update(bundle.path, out, **news(bundle))
    made = update(bundle.path, out, **news(bundle), encoder=str(encoder))
    vectors, catalogue = open_bundle(out).title_vectors, open_bundle(out).catalogue
    expected = open_encoder(str(encoder)).encode(["Red kite tail"], role="document")[0]
    np.testing.assert_allclose(vectors[catalogue.row("k9")], expected, atol=1e-6)
    assert str(encoder) not in (made.path / "manifest.json").read_text()


def test_another_encoder_is_refused(bundle, encoder):
    other = shutil.copytree(encoder, encoder.with_name("other"))
    file = other / "tokenizer_config.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(ArtifactError, match="made from another encoder"):
        update(bundle.path, bundle.path.with_name("no"), **news(bundle), encoder=str(other))
