"""Distillation as a part of an experiment: who is trained first, and what the manifest says."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from gloss.artifacts import open_artifact
from gloss.config import Distillation, ScratchModel, ShopData, Training
from gloss.data.dataset import Dataset
from gloss.errors import ConfigError
from gloss.experiment import stages
from gloss.experiment.following import on_data
from gloss.experiment.pipeline import quietly, train_parts
from gloss.experiment.run_folder import RunFolder
from gloss.experiment.settings import Experiment
from gloss.language.records import ModelConfig

TAUGHT = """
name: taught
data: {source: shop, users: 40, split: leave-one-out}
model: {vocabulary: 300, layers: 1, width: 16, heads: 2, context: 256}
training: {epochs: 1, batch_tokens: 2048, warmup_steps: 1, validation_users: 5}
distillation: {teachers: [sasrec], titles: 2, candidates: 8}
rankers: {sasrec: {text: false, epochs: 1, width: 8}}
"""


def experiment(**sections) -> Experiment:
    return Experiment.model_validate(yaml.safe_load(TAUGHT) | sections)


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> RunFolder:
    return train_parts(experiment(), tmp_path_factory.mktemp("taught") / "run", model=True)


def test_a_model_is_bound_to_the_teachers_that_were_trained_before_it(taught):
    model = open_artifact(taught.model, "model")
    teacher = open_artifact(taught.trained("sasrec"), "sasrec")
    data = open_artifact(taught.data, "dataset")
    assert model.inputs == {"dataset": data.fingerprint, "sasrec": teacher.fingerprint}
    assert ModelConfig.of(model).distillation == Distillation(
        teachers=("sasrec",), titles=2, candidates=8
    )


def test_what_is_trained_is_not_trained_again_until_a_teacher_changes(taught):
    model = open_artifact(taught.model, "model")
    train_parts(experiment(), taught.path, model=True)
    assert open_artifact(taught.model, "model").fingerprint == model.fingerprint
    other = experiment(rankers={"sasrec": {"text": False, "epochs": 2, "width": 8}})
    train_parts(other, taught.path, model=True)
    assert open_artifact(taught.model, "model").fingerprint != model.fingerprint


def test_a_model_without_a_teacher_is_recorded_as_ever(tmp_path):
    alone = experiment(distillation={})
    folder = train_parts(alone, tmp_path / "run", model=True, announce=quietly)
    model = open_artifact(folder.model, "model")
    assert set(model.config) == {"titles", "seed", "model", "training"}
    assert set(model.inputs) == {"dataset"}
    assert not folder.trained("sasrec").exists()


def test_a_teacher_that_nobody_has_trained_is_an_error(taught, tmp_path):
    with pytest.raises(ConfigError, match="use gloss run"):
        stages.train(
            taught.data,
            tmp_path / "model",
            model=ScratchModel(),
            training=Training(),
            titles="fair",
            seed=0,
            distillation=Distillation(teachers=("sasrec",)),
        )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"distillation": {"teachers": ["popularity"]}}, "dual-encoder"),
        ({"distillation": {"teachers": ["sasrec"], "weights": [1, 2]}}, "1 teachers and 2 weights"),
        ({"model": {"recipe": "lora", "base": "a/b"}, "training": {}}, "teach a model from zero"),
    ],
)
def test_settings_that_fit_nothing_are_errors(sections, message):
    with pytest.raises(ValidationError, match=message):
        experiment(**sections)


def test_where_data_repeat_teachers_learn_and_draw_what_was_bought(taught, tmp_path):
    wanted = experiment(distillation={"teachers": ["dual-encoder", "sasrec"]})
    plain = on_data(wanted, Dataset.load(taught.data))
    assert plain.distillation.bought is None
    assert not plain.rankers.dual_encoder.repeats
    grocer = ShopData(users=60, repeats=0.5, split="leave-one-out")
    again = on_data(wanted, Dataset.load(stages.prepare(grocer, tmp_path / "grocer").path))
    assert again.distillation.bought is True
    assert again.rankers.dual_encoder.repeats
