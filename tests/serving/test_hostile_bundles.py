"""A hostile bundle is refused in one line, and nothing in it runs: an audit hook watches."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from campaign.artefacts import copied, resealed
from campaign.ledger import judged
from gloss.artifacts import MANIFEST
from gloss.data.histories import History
from gloss.errors import GlossError
from gloss.fusion.rule import FusionRequest
from gloss.fusion.rules import rule_named
from gloss.rankings.ranking import RankedItem, Ranking
from gloss.rankings.table import RankingTable
from gloss.serving.model_process import ServedProcess
from hostile_bundles import CASES, MARK, poisoned_trees
from processes import Processes

LISTS = 3  # of the language model, transitions and word overlap


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with Processes.started(tmp_path_factory.mktemp("hostile"), "hostile_bundles") as server:
        yield server


def outcome(processes, bundle) -> tuple[str, str]:
    ended = processes.call("hostile_bundles:serve", str(bundle), limit=60)
    return judged(ended), ended.stderr


def test_the_bundle_that_is_spoiled_is_served_as_it_is(processes, shop_bundle):
    assert outcome(processes, shop_bundle)[0] == "well"


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_bundle_is_one_line_and_nothing_runs(name, processes, shop_bundle, tmp_path):
    bundle = copied(shop_bundle, tmp_path / "bundle")
    CASES[name](bundle)
    ended, said = outcome(processes, bundle)
    assert ended == "refused", said
    assert not (tmp_path / MARK).exists()


def test_a_service_of_it_says_the_same_line(shop_bundle, tmp_path):
    bundle = copied(shop_bundle, tmp_path / "bundle")
    CASES["a pickle in purchases"](bundle)
    with pytest.raises(GlossError, match=r"bundle holds what cannot be read: .*Python objects"):
        ServedProcess.open(bundle).recommend([()], 3, rules=None, wish=None)
    assert not (tmp_path / MARK).exists()


@pytest.fixture(scope="module")
def tree_files() -> dict[str, str]:
    """The files of trees that were fitted to lists like those of the bundle."""
    if not find_spec("lightgbm"):
        pytest.skip("needs lightgbm, of the extra trees")
    rng = np.random.default_rng(0)
    items = [f"i{number}" for number in range(8)]
    users = [f"u{number}" for number in range(200)]

    def listed(user: str) -> Ranking:
        scores = np.sort(rng.random(len(items)))[::-1]
        order = rng.permutation(items)
        entries = zip(order, scores, strict=True)
        return Ranking(user, tuple(RankedItem(item, float(score)) for item, score in entries))

    tables = [RankingTable.of([listed(user) for user in users]) for _ in range(LISTS)]
    request = FusionRequest(tables, [History(user, ()) for user in users], {})
    targets = [str(item) for item in rng.choice(items, len(users))]
    return dict(rule_named("trees").fit(request, targets).files())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("left_child=", "left_child=0 "),
        ("leaf_value=", "leaf_value=nan "),
        ("num_leaves=", "num_leaves=2147483647"),
        ("max_feature_idx=", "max_feature_idx=9"),
        ("split_feature=", "split_feature=-1 "),
    ],
    ids=["as they are", "a loop", "no number", "too many leaves", "features", "a feature"],
)
def test_a_poisoned_tree_is_refused(processes, shop_bundle, tmp_path, tree_files, old, new):
    bundle = copied(shop_bundle, tmp_path / "bundle")
    document = json.loads((bundle / MANIFEST).read_bytes())
    del document["files"]["fusion/weights.json"]
    for name, text in poisoned_trees(tree_files, old, new).items():
        (bundle / "fusion" / name).write_text(text)
        document["files"][f"fusion/{name}"] = {}
    document["config"]["fusion"] = "trees"
    (bundle / MANIFEST).write_text(json.dumps(document))
    resealed(bundle)
    assert outcome(processes, bundle)[0] == ("refused" if old else "well")
