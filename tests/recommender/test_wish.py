"""A wish in the prompt: of a pretrained language model, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from gloss.data.readers.shop import make_shop
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.recommender.bundle import open_bundle
from gloss.recommender.recommender import Recommender
from gloss.testing.tiny_model import write_tiny_llama

pytestmark = pytest.mark.filterwarnings("ignore:decoding takes the slower path:RuntimeWarning")

SETTINGS = {
    "name": "wish",
    "data": {"source": "shop", "users": 12, "split": "none"},
    "decoding": {"beams": 2, "mode": "catalogue"},
}
WISH = "something for the beach"


@pytest.fixture(scope="module")
def recommender(tmp_path_factory) -> Recommender:
    """A bundle of a fine-tuned model alone."""
    folder = tmp_path_factory.mktemp("wish")
    titles = make_shop(users=12).items["title"].to_list()
    base = write_tiny_llama(folder / "base", titles)
    model = {"recipe": "lora", "base": str(base), "quantization": "none", "rank": 2}
    training = {"epochs": 1, "batch": 16, "accumulation": 1, "sequence": 384, "warmup_steps": 0}
    training |= {"optimizer": "adamw", "packing": True, "gradient_checkpointing": "never"}
    experiment = with_overrides({**SETTINGS, "model": model, "training": training}, [])
    return Recommender.open(fit(experiment, folder / "bundle", parts=folder / "parts").path)


@pytest.fixture
def prompts(recommender, monkeypatch) -> list[str]:
    """What the model reads, in the order in which it is asked."""
    read: list[str] = []
    generator = recommender._lists._whole
    generate = generator.generate

    def noted(prompts, **settings):
        read.extend(prompt.text for prompt in prompts)
        return generate(prompts, **settings)

    monkeypatch.setattr(generator, "generate", noted)
    return read


def test_the_bundles_settings_say_that_its_model_reads_a_wish(recommender):
    assert recommender.bundle.settings.model.reads_wish is True


def test_a_wish_stands_in_the_prompt_behind_the_purchases(recommender, prompts):
    history = [recommender.catalogue.titles[0]]
    recommender.recommend([history], k=3)
    recommender.recommend([history], k=3, wish=WISH)
    without, with_wish = prompts
    purchases, answer = without.split("\n### Next item:")
    assert WISH not in without
    assert with_wish.startswith(purchases)
    assert with_wish.endswith(answer)
    assert WISH in with_wish.removeprefix(purchases)


def test_a_wish_alone_is_read_where_nothing_was_bought(recommender, prompts):
    (answer,) = recommender.recommend([[]], k=5, wish=WISH)
    (prompt,) = prompts
    assert WISH in prompt
    assert (answer.way, len(answer.items)) == ("wish", 5)


def test_a_model_from_zero_reads_no_wish(tmp_path: Path):
    model = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 400}
    training = {"epochs": 1, "batch_tokens": 2000, "warmup_steps": 0, "validation_users": 0}
    experiment = with_overrides({**SETTINGS, "model": model, "training": training}, [])
    made = fit(experiment, tmp_path / "bundle", parts=tmp_path / "parts")
    assert open_bundle(made.path).settings.model.reads_wish is False
