"""Several networks as one generator."""

from __future__ import annotations

from math import log

import pytest

from gloss.config import Decoding, ScratchModel, ShopData, Training
from gloss.data.dataset import Dataset
from gloss.data.generations import Generation, Query, read_generations
from gloss.decoding.ensemble import EnsembleGenerator, average
from gloss.decoding.open import open_generator
from gloss.decoding.transformers_generator import TransformersGenerator
from gloss.experiment import stages
from gloss.language.loading import load_networks
from gloss.progress import part_of
from gloss.testing.generators import GeneratorContract
from processes import visible_bytes

SHAPE = ScratchModel(networks=3, vocabulary=400, layers=1, width=32, heads=2, context=256)
TRAINING = Training(epochs=2, batch_tokens=2048, warmup_steps=2, validation_users=10)
DECODING = Decoding(beams=4, shard_users=8)


def wrote(*titles: tuple[str, float]) -> Generation:
    queries = (Query(text, beam, log(p)) for beam, (text, p) in enumerate(titles))
    return Generation("u", ("i",), tuple(queries))


def test_a_titles_probability_is_the_mean_of_the_models():
    averaged = average([wrote(("a", 0.5), ("b", 0.2)), wrote(("b", 0.6), ("c", 0.1))])
    assert (averaged.user, averaged.history) == ("u", ("i",))
    assert [(q.text, q.beam) for q in averaged.queries] == [("b", 0), ("a", 1), ("c", 2)]
    assert [q.logprob for q in averaged.queries] == pytest.approx([log(0.4), log(0.25), log(0.05)])


def test_equal_titles_stand_as_the_models_name_them():
    averaged = average([wrote(("z", 0.25), ("a", 0.125)), wrote(("m", 0.25), ("b", 0.125))])
    assert [q.text for q in averaged.queries] == ["z", "m", "a", "b"]


def test_one_title_written_in_two_ways_has_both_probabilities():
    (query,) = average([wrote(("a", 0.3), ("a", 0.1))]).queries
    assert query.logprob == pytest.approx(log(0.4))


def test_the_likeliest_of_all_are_kept():
    several = [wrote(("a", 0.5), ("b", 0.2)), wrote(("b", 0.6), ("c", 0.1))]
    assert average(several, most=2).queries == average(several).queries[:2]


def test_models_that_write_nothing_average_to_nothing():
    assert average([wrote(), wrote()]).queries == ()


def test_probabilities_too_small_for_a_number_are_ranked():
    small = Generation("u", (), (Query("a", 0, -2000.0), Query("b", 1, -3000.0)))
    assert [q.logprob for q in average([small, small]).queries] == pytest.approx([-2000.0, -3000.0])


def test_progress_of_parts_is_progress_of_the_whole():
    reports = []
    for number in (0, 1):
        progress = part_of(lambda *report: reports.append(report[:2]), number, 2)
        progress(5, 10)
        progress(10, 10)
    assert reports == [(2, 10), (5, 10), (7, 10), (10, 10)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Dataset:
    folder = tmp_path_factory.mktemp("shop") / "data"
    stages.prepare(ShopData(users=60, seed=1), folder)
    return Dataset.load(folder)


def train(shop, out, model=SHAPE, seed=7, **more):
    return stages.train(
        shop.path, out, model=model, training=TRAINING, titles="fair", seed=seed, **more
    )


@pytest.fixture(scope="module")
def three(shop, tmp_path_factory):
    return train(shop, tmp_path_factory.mktemp("model") / "three")


def test_the_first_network_is_what_one_alone_would_be(shop, three, tmp_path):
    one = train(shop, tmp_path / "one", SHAPE.model_copy(update={"networks": 1}))
    for name in ("model.safetensors", "tokenizer.json", "losses.jsonl", "prompt.json"):
        assert (one.path / name).read_bytes() == (three.path / name).read_bytes(), name
    assert three.summary["parameters"] == 3 * one.summary["parameters"]
    assert three.summary["validation_loss"] == one.summary["validation_loss"]
    second = train(shop, tmp_path / "second", SHAPE.model_copy(update={"networks": 1}), seed=8)
    there = three.path / "network-1" / "model.safetensors"
    assert there.read_bytes() == (second.path / "model.safetensors").read_bytes()
    assert len(load_networks(three.path, device="cpu")) == 3
    assert len(load_networks(one.path, device="cpu")) == 1


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.9])
@pytest.mark.parametrize("seconds", [60.0, 0.0], ids=["rarely", "every step"])
def test_interrupted_anywhere_the_same_networks_come_of_it(
    shop, three, tmp_path, monkeypatch, share, seconds
):
    monkeypatch.setattr("gloss.training.loop._CHECKPOINT_SECONDS", seconds)

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int | None, _note: str = "") -> None:
        if total and done >= share * total:
            raise Interrupted

    out = tmp_path / "model"
    with pytest.raises(Interrupted):
        train(shop, out, progress=stop)
    train(shop, out)
    assert visible_bytes(out) == visible_bytes(three.path)


def test_networks_that_are_done_are_not_trained_again(shop, tmp_path, monkeypatch):
    from gloss.language.scratch import train as scratch

    seeds, real = [], scratch.train_from_zero

    def trained(*args, seed, **more):
        seeds.append(seed)
        if seeds == [7, 8]:
            raise KeyboardInterrupt
        return real(*args, seed=seed, **more)

    monkeypatch.setattr(scratch, "train_from_zero", trained)
    with pytest.raises(KeyboardInterrupt):
        train(shop, tmp_path / "model")
    train(shop, tmp_path / "model")
    assert seeds == [7, 8, 8, 9]


@pytest.fixture(params=["fast", "transformers"])
def backend(request, monkeypatch) -> None:
    """Networks that the fast path runs, and such as it cannot run."""
    if request.param == "transformers":
        monkeypatch.setattr(
            "gloss.decoding.choose_search.unsupported_because", lambda *_: "the test says so"
        )


def titles(written) -> list[list[str]]:
    return [[query.text for query in generation.queries] for generation in written]


@pytest.mark.usefixtures("backend")
@pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning")
@pytest.mark.parametrize("mode", ["catalogue", "free", "exact"])
def test_a_stage_writes_what_the_networks_write_average(shop, three, tmp_path, mode):
    settings = DECODING.model_copy(update={"mode": mode, "max_new_tokens": 12})
    out = tmp_path / "written"
    stages.generate(three.path, shop.path, out, split="test", settings=settings)
    catalogue = shop.catalogue("fair")
    generators = [
        TransformersGenerator(network, settings, catalogue)
        for network in load_networks(three.path, device="cpu")
    ]
    prompts = generators[0].prompt_builder().build_all(shop.examples("test"), catalogue)
    alone = zip(*(generator.generate(prompts) for generator in generators), strict=True)
    written = read_generations(out)
    assert titles(written) == titles(average(several) for several in alone)
    assert any(len(generation.queries) > settings.beams for generation in written)


def test_as_many_titles_are_returned_as_were_asked_for(shop, three):
    catalogue = shop.catalogue("fair")
    every = open_generator(three.path, DECODING, catalogue, device="cpu")
    two = DECODING.model_copy(update={"returned": 2})
    few = open_generator(three.path, two, catalogue, device="cpu")
    prompts = every.prompt_builder().build_all(shop.examples("test", limit=12), catalogue)
    first = [of_user[:2] for of_user in titles(every.generate(prompts))]
    assert titles(few.generate(prompts)) == first


def test_a_dry_run_counts_the_networks(shop):
    assert stages.plan(shop.path, model=SHAPE, training=TRAINING, titles="fair")["networks"] == 3


def test_an_estimate_counts_every_network(shop, three):
    estimate = stages.estimate(
        three.path, shop.path, split="test", settings=DECODING, limit_users=4
    )
    generator = open_generator(three.path, DECODING, shop.catalogue("fair"), device="cpu")
    assert isinstance(generator, EnsembleGenerator)
    one = generator.members[0].footprint().new_tokens
    assert estimate["new tokens at most"] == 4 * 3 * one


class TestEnsembleGenerator(GeneratorContract):
    @pytest.fixture
    def generator(self, three, shop):
        return open_generator(three.path, DECODING, shop.catalogue("fair"), device="cpu")

    @pytest.fixture
    def prompts(self, generator, shop):
        examples = shop.examples("test", limit=12)
        return generator.prompt_builder().build_all(examples, shop.catalogue("fair"))
