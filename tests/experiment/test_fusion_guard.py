"""A fused list that is no better than its best part is not what is served, and the run says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gloss.artifacts import open_artifact
from gloss.data.dataset import Dataset
from gloss.data.histories import History
from gloss.errors import InputError
from gloss.experiment import pipeline
from gloss.experiment.bundling import bundle, fit
from gloss.experiment.fusion_guard import guarded
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import FUSED, RANKERS, RunFolder
from gloss.experiment.served import served_list
from gloss.experiment.stages.report import report_on
from gloss.fusion import log_linear, reciprocal_rank, trees
from gloss.fusion.rule import FusionRequest
from gloss.rankings.files import load_rankings
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.records import FUSED_LIST, FusionSummary
from gloss.rankings.table import RankingTable
from gloss.recommender.bundle import open_bundle
from gloss.recommender.recommender import Recommender

ITEMS = [f"b{n}" for n in range(30)]


def ranker(targets: list[str], hits: np.ndarray, seed: int) -> RankingTable:
    """Lists of ten items, led by the target where it is a hit and without it elsewhere."""
    rng, rankings = np.random.default_rng(seed), []
    for user, (target, hit) in enumerate(zip(targets, hits, strict=True)):
        others = [item for item in rng.permutation(ITEMS) if item != target]
        listed = [target, *others][:10] if hit else others[:10]
        entries = (RankedItem(str(item), 1.0 - n / 10) for n, item in enumerate(listed))
        rankings.append(Ranking(f"u{user}", tuple(entries)))
    return RankingTable.of(rankings)


def shop_of(users: int, *shares: float) -> tuple[FusionRequest, list[str]]:
    """Rankers that hit these shares of users, each by itself."""
    rng = np.random.default_rng(0)
    targets = [str(item) for item in rng.choice(ITEMS, users)]
    hits = [rng.random(users) < share for share in shares]
    lists = [ranker(targets, each, seed) for seed, each in enumerate(hits)]
    return FusionRequest(lists, [History(f"u{n}", ()) for n in range(users)], {}), targets


def test_two_rankers_that_know_different_things_are_fused():
    found = guarded(log_linear.RULE, *shop_of(400, 0.4, 0.4), ["one", "two"], length=10)
    assert (found.rule, found.served) == (log_linear.RULE, FUSED_LIST)
    assert "Served is the fused list: on 400 validation users" in found.why
    assert "cross-fitted in 5 parts" in found.why


def test_a_part_that_knows_all_is_not_diluted_by_one_that_knows_nothing():
    found = guarded(reciprocal_rank.RULE, *shop_of(400, 0.4, 0.0), ["one", "noise"], length=10)
    assert found.served == "one"
    assert "Served is one alone: on 400 validation users the fused list has NDCG@10 0." in found.why
    assert "cross-fitted" not in found.why  # ranks fit nothing


def test_with_37_users_nothing_is_fitted():
    request, targets = shop_of(37, 0.4, 0.4)
    found = guarded(trees.RULE, request, targets, ["one", "two"], length=10)
    assert found.rule is reciprocal_rank.RULE
    users = sum(
        target in {entry.item for table in request.lists for entry in table[n].entries}
        for n, target in enumerate(targets)
    )
    said = (
        f"{users} validation users with an answer in a list are too few to fit trees, which takes"
    )
    assert found.why.startswith(said)


def test_without_any_answer_in_a_list_nothing_is_compared_and_nothing_fails():
    found = guarded(log_linear.RULE, *shop_of(20, 0.0, 0.0), ["one", "two"], length=10)
    assert (found.rule, found.served) == (reciprocal_rank.RULE, FUSED_LIST)
    assert found.why.endswith("Nothing could be compared.")


def test_the_figures_are_means_over_users_and_the_error_is_that_of_their_differences():
    request, targets = shop_of(100, 0.3, 0.0)
    found = guarded(reciprocal_rank.RULE, request, targets, ["one", "noise"], length=10)
    fused = reciprocal_rank.RULE.fit(request, targets).fuse(request, length=10)

    def gains(table: RankingTable) -> np.ndarray:
        lists = [[entry.item for entry in ranking.entries] for ranking in table]
        ranks = [
            items.index(target) + 1 if target in items else np.inf
            for items, target in zip(lists, targets, strict=True)
        ]
        return 1 / np.log2(1 + np.array(ranks))

    differences = gains(fused) - gains(request.lists[0])
    error = differences.std() / 100**0.5
    said = f"the difference is {differences.mean():+.4f}, its standard error {error:.4f}."
    assert found.why.endswith(said)


SHOP = {
    "name": "tiny",
    "data": {"source": "shop", "users": 120, "split": "leave-one-out"},
    "model": {"vocabulary": 400, "layers": 1, "width": 32, "heads": 2, "context": 256},
    "training": {"epochs": 1, "batch_tokens": 2048, "warmup_steps": 2, "validation_users": 10},
    "decoding": {"beams": 4},
    "rankers": {"use": ["transitions", "popularity"], "length": 40},
    "fusion": {"rule": "reciprocal-rank"},
}
"""Ranks alone give a model that has learnt nothing as much say as what transitions know."""


@pytest.fixture(scope="module")
def diluted(tmp_path_factory) -> RunFolder:
    folder = tmp_path_factory.mktemp("diluted") / "run"
    pipeline.run(with_overrides(SHOP, []), folder)
    return RunFolder(folder)


def summary(run: RunFolder, name: str) -> FusionSummary:
    return FusionSummary.of(open_artifact(run.ranking(name), "ranking"))


def test_a_run_whose_fusion_dilutes_serves_the_best_part_in_report_and_bundle(diluted, tmp_path):
    assert summary(diluted, FUSED).served == summary(diluted, RANKERS).served == "transitions"
    name, ranking = served_list(diluted)
    assert (name, ranking.path) == ("transitions", diluted.ranker("test", "transitions"))
    (report,) = report_on([diluted.path])
    assert report.facts["Served"] == summary(diluted, FUSED).why
    assert report.samples_of == "Transitions"
    bundle(diluted.path, tmp_path / "bundle")
    settings = open_bundle(tmp_path / "bundle").settings
    assert settings.model is None
    assert settings.fusion is None
    assert [part.name for part in settings.rankers] == ["transitions"]


def test_the_bundle_of_a_best_part_answers_its_list(diluted, tmp_path):
    bundle(diluted.path, tmp_path / "bundle")
    examples = Dataset.load(diluted.data).examples("test")[:20]
    served = Recommender.open(tmp_path / "bundle").recommend([e.history for e in examples], k=5)
    lists = load_rankings(diluted.ranker("test", "transitions"))[1][:20]
    for answer, own in zip(served, lists, strict=True):
        shown = [item.item for item in answer.items if item.reason != "popular"]
        assert shown == [entry.item for entry in own.entries[:5]]


def test_a_fit_on_everything_serves_what_the_measured_run_would(diluted, tmp_path):
    made = fit(
        with_overrides(SHOP, []),
        tmp_path / "bundle",
        parts=tmp_path / "parts",
        measured=diluted.path,
    )
    settings = open_bundle(made.path).settings
    assert (settings.model, settings.fusion) == (None, None)
    assert [part.name for part in settings.rankers] == ["transitions"]


def test_the_language_model_is_served_with_the_rest_where_it_is_asked_for(diluted, tmp_path):
    bundle(diluted.path, tmp_path / "bundle", model=True)
    settings = open_bundle(tmp_path / "bundle").settings
    assert settings.model is not None
    assert settings.fusion == "reciprocal-rank"


def test_without_the_guard_the_fused_list_is_served(diluted, tmp_path: Path, caplog):
    folder = tmp_path / "run"
    pipeline.run_rankers(with_overrides(SHOP, ["fusion.guard=false"]), folder)
    assert summary(RunFolder(folder), RANKERS) == FusionSummary()
    assert served_list(RunFolder(folder))[0] == RANKERS
    assert not caplog.messages


def test_few_users_are_joined_by_ranks_and_a_bundle_knows_it(tmp_path: Path, caplog):
    changes = ["data.users=30", "fusion.rule=log-linear"]
    pipeline.run_rankers(with_overrides(SHOP, changes), tmp_path / "run")
    found = summary(RunFolder(tmp_path / "run"), RANKERS)
    assert found.rule == "reciprocal-rank"
    assert found.why in caplog.messages
    bundle(tmp_path / "run", tmp_path / "bundle", model=False)
    fusion = open_bundle(tmp_path / "bundle").settings.fusion
    assert fusion == ("reciprocal-rank" if found.served == FUSED_LIST else None)


def test_a_run_that_has_fused_nothing_serves_nothing(tmp_path: Path):
    assert served_list(RunFolder(tmp_path)) is None
    with pytest.raises(InputError):
        bundle(tmp_path, tmp_path / "bundle")
