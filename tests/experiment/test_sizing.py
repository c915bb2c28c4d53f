"""What nobody sets follows the data and the machine; what is set stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from gloss.config import ShopData
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError, InputError
from gloss.experiment.cost import cost_of, require_a_day
from gloss.experiment.following import on_data
from gloss.experiment.loading import load_experiment, with_overrides
from gloss.experiment.planning import planned
from gloss.experiment.sizing import Shop, changes, filled, shop_of, sized
from gloss.experiment.stages import prepare

BARE = {"name": "shop", "data": {"source": "shop"}}
SMALL = Shop(titles=400, tokens=80_000)
"""About 12,000 purchases."""
TOYS = Shop(titles=11_900, tokens=2_500_000)


def sizes(shop: Shop, *changes: str, gpu: bool = False):
    made = sized(with_overrides(BARE, changes), shop, gpu=gpu)
    return made.model, made.training


def test_twelve_thousand_purchases_have_steps_enough_on_a_cpu():
    """The defaults without data: 20 epochs of a step or two, and a warm-up of 200 steps."""
    model, training = sizes(SMALL)
    # Half of the histories begin at a random purchase, and lose half of their tokens on average.
    steps = training.epochs * 0.75 * SMALL.tokens / training.batch_tokens
    assert (model.width, model.layers, training.batch_tokens) == (128, 2, 1024)
    assert steps > 800
    assert training.warmup_steps <= steps / 20 + 1
    assert training.learning_rate == 0.004


def test_the_toys_of_amazon_on_a_gpu_have_about_the_sizes_of_the_published_configuration(
    pytestconfig,
):
    published = load_experiment(pytestconfig.rootpath / "configs/toys-scratch.yaml")
    model, training = sizes(TOYS, gpu=True)
    for name in ("vocabulary", "layers", "width", "heads"):
        assert getattr(model, name) == getattr(published.model, name)
    for name in ("epochs", "batch_tokens", "learning_rate", "warmup_steps"):
        assert getattr(training, name) == getattr(published.training, name), name


def test_a_large_shop_on_a_cpu_has_fewer_epochs_and_larger_batches():
    (small, of_small), (large, of_large) = sizes(SMALL), sizes(TOYS)
    assert of_large.epochs < of_small.epochs
    assert of_large.batch_tokens > of_small.batch_tokens
    assert large.vocabulary > small.vocabulary
    assert large.width == small.width


def test_what_is_set_stays_as_it_is():
    model, training = sizes(
        SMALL, "model.width=64", "training.epochs=3", "training.warmup_steps=9", gpu=True
    )
    assert (model.width, model.heads) == (64, 8)  # heads would have to divide another width
    assert (training.epochs, training.warmup_steps) == (3, 9)
    assert training.batch_tokens == 1024


def test_sizes_that_were_written_down_are_set():
    once = sized(with_overrides(BARE, []), SMALL, gpu=False)
    again = with_overrides(once.model_dump(mode="json"), [])
    assert sized(again, TOYS, gpu=True) == once
    assert changes(again, sized(again, TOYS, gpu=True)) == {}
    assert changes(with_overrides(BARE, []), once)["training.epochs"] == once.training.epochs


def test_published_configurations_leave_no_size_open(pytestconfig):
    """So that they have equal results on any machine."""
    for path in sorted((pytestconfig.rootpath / "configs").glob("*.yaml")):
        if path.stem != "own-shop":
            experiment = load_experiment(path)
            assert sized(experiment, SMALL, gpu=False) == experiment, path.name


def test_a_fit_takes_the_sizes_of_the_run_that_was_measured():
    bare = with_overrides(BARE, ["training.epochs=3"])
    measured = sized(bare, TOYS, gpu=True)
    assert filled(bare, measured) == measured


def test_an_adapters_sizes_are_its_base_models():
    lora = with_overrides({**BARE, "model": {"recipe": "lora", "base": "a/b"}}, [])
    assert sized(lora, SMALL, gpu=False) == lora
    assert cost_of(lora, SMALL, gpu=False) is None


def test_cost_counts_weights_and_steps():
    one = ["model.vocabulary=100", "model.layers=1", "model.width=8", "model.heads=2"]
    few = ["model.mlp_width=16", "training.epochs=2", "training.batch_tokens=1000"]
    few += ["training.random_start=0"]
    shop = Shop(titles=10, tokens=2500)
    cost = cost_of(with_overrides(BARE, [*one, *few]), shop, gpu=False)
    # Attention has four matrices of 8 x 8, the MLP three of 8 x 16, the embedding 100 x 8.
    assert cost.parameters == 4 * 8 * 8 + 3 * 8 * 16 + 100 * 8
    assert cost.steps == 2 * 3  # 2,500 tokens in batches of 1,000
    assert cost.tokens == 2 * 2500
    assert cost.seconds() > 0
    two = cost_of(with_overrides(BARE, [*one, *few, "model.networks=2"]), shop, gpu=False)
    assert (two.steps, two.tokens) == (2 * cost.steps, 2 * cost.tokens)


def test_what_takes_more_than_a_day_is_refused():
    large = ["model.layers=64", "model.width=4096", "model.heads=32", "training.epochs=1000"]
    cost = cost_of(with_overrides(BARE, large), TOYS, gpu=False)
    # Forward two and backward four operations for each parameter and token.
    assert cost.operations >= 6 * cost.parameters * cost.tokens > 1e20
    with pytest.raises(ConfigError, match=r"about [\d,]+ hours: take fewer epochs.*--force"):
        require_a_day(cost)
    fitting = sized(with_overrides(BARE, []), SMALL, gpu=False)
    require_a_day(cost_of(fitting, SMALL, gpu=False))
    require_a_day(None)


def test_tokens_are_counted_from_the_words_of_what_was_bought(tmp_path: Path):
    data = Dataset.load(prepare(ShopData(users=50), tmp_path / "data").path)
    catalogue = data.catalogue("fair")
    words = sum(len(catalogue.title(i).split()) + 1 for h in data.train() for i in h.items)
    assert shop_of(data, "fair") == Shop(len(set(catalogue.titles)), round(1.5 * words))


def test_a_plan_reads_the_data_and_leaves_nothing(tmp_path: Path):
    bare = with_overrides({**BARE, "data": {"source": "shop", "users": 50}}, [])
    experiment, cost = planned(bare, tmp_path / "run")
    assert experiment.ranking.exclude_seen is True
    assert experiment.training.batch_tokens == 1024
    assert cost.steps >= experiment.training.epochs
    assert not list(tmp_path.iterdir())


def test_a_plan_downloads_nothing(tmp_path: Path):
    amazon = with_overrides({**BARE, "data": {"source": "amazon", "category": "toys"}}, [])
    with pytest.raises(InputError, match="would be downloaded"):
        planned(amazon, tmp_path / "run")


def test_how_much_rankers_bring_follows_the_titles(tmp_path):
    bare = {**BARE, "data": {"source": "shop", "users": 50}, "rankers": {"use": ["popularity"]}}
    data = Dataset.load(prepare(ShopData(users=50), tmp_path / "data").path)
    titles = len(set(data.catalogue("fair").titles))
    assert titles < (2 * 20) ** 2
    assert on_data(with_overrides(bare, []), data).rankers.length == 20
    longer = on_data(with_overrides(bare, ["ranking.length=50"]), data)
    assert longer.rankers.length == 50  # a fused list of 50 needs lists of 50
    assert on_data(with_overrides(bare, ["rankers.length=7"]), data).rankers.length == 7
