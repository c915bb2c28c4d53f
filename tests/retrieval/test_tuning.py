from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest

from contracts import catalogue_of
from gloss.artifacts import open_artifact
from gloss.data.dataset import Dataset, PurchaseLog, prepare, save
from gloss.data.histories import History
from gloss.errors import ConfigError, InputError, MissingExtraError
from gloss.retrieval import tuning
from gloss.retrieval.encoders import Encoder, Prefixes, open_encoder
from gloss.retrieval.tuning import title_pairs, tune_encoder


@pytest.fixture(autouse=True)
def trainer(minilm):
    if not (find_spec("datasets") and find_spec("accelerate")):
        pytest.skip('needs the extra "tune"')


def test_pairs_are_purchases_in_a_row_with_other_titles():
    catalogue = catalogue_of(("kite", "ball", "kite"))
    histories = [History("u", ("b0", "b1", "b2")), History("v", ("b0", "b2")), History("w", ())]
    assert [*title_pairs(histories, catalogue)] == [("kite", "ball"), ("ball", "kite")]


@pytest.fixture
def shop(tmp_path) -> Dataset:
    """Four users, each of whom bought one thing after another: twelve things."""
    titles = [
        "kite",
        "string",
        "wind",
        "soap",
        "towel",
        "bath",
        "pan",
        "oil",
        "stove",
        "pen",
        "ink",
        "paper",
    ]
    bought = [(f"u{n // 3}", f"b{n}", n % 3) for n in range(len(titles))]
    items = {"item": [f"b{n}" for n in range(len(titles))], "title": titles}
    columns = ["user", "item", "time"]
    log = PurchaseLog(pl.DataFrame(bought, schema=columns, orient="row"), pl.DataFrame(items), {})
    save(prepare(log, split="paper"), tmp_path / "shop", config={})
    return Dataset.load(tmp_path / "shop")


def contrast(encoder: Encoder) -> float:
    """How much nearer what was bought in a row is than what was not, on average."""
    first = encoder.encode(["kite", "soap", "pan", "pen"], role="query")
    then = encoder.encode(["string", "towel", "oil", "ink"], role="document")
    cosines = first @ then.T
    return float(cosines.diagonal().mean() - cosines.mean())


def test_a_tuned_encoder_is_an_encoder_that_tells_pairs_apart(shop, tmp_path, minilm):
    folder = tmp_path / "tuned"
    tune_encoder(shop, folder, encoder=minilm.name, batch=2, learning_rate=3e-4)
    tuned = open_encoder(str(folder))
    assert tuned.prefixes == Prefixes()
    assert tuned.fingerprint != minilm.fingerprint
    assert np.linalg.norm(tuned.encode(["kite"], role="query")) == pytest.approx(1, abs=1e-6)
    assert contrast(tuned) > contrast(minilm)
    made = open_artifact(folder, tuning.KIND)
    assert made.inputs == {"dataset": shop.fingerprint, "encoder": minilm.fingerprint}
    assert (made.summary["pairs"], made.summary["steps"]) == (4, 2)
    assert not (folder / "trainer").exists()


def test_what_cannot_be_learnt_from_is_named(dataset, tmp_path, minilm, monkeypatch):
    with pytest.raises(InputError, match="are fewer than a batch of 64"):
        tune_encoder(dataset, tmp_path / "tuned", encoder=minilm.name)
    with pytest.raises(InputError, match="too few different titles for a batch of 2"):
        tune_encoder(dataset, tmp_path / "tuned", encoder=minilm.name, batch=2)
    with pytest.raises(ConfigError, match="a batch of 1 has no negatives"):
        tune_encoder(dataset, tmp_path / "tuned", encoder=minilm.name, batch=1)
    with pytest.raises(ConfigError, match="no encoder 'none'"):
        tune_encoder(dataset, tmp_path / "tuned", encoder="none")
    monkeypatch.setattr(tuning, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"gloss-rec\[tune\]"):
        tune_encoder(dataset, tmp_path / "tuned", encoder=minilm.name, batch=2)
