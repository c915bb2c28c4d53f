"""What cannot fit is refused before any work is done, from the settings alone."""

from __future__ import annotations

import resource
import shutil
from collections import namedtuple

import pytest

from gloss.errors import ConfigError
from gloss.experiment import feasibility
from gloss.experiment.feasibility import Trained, require_room, trained_by
from gloss.experiment.loading import with_overrides
from gloss.language.scratch.llama import new_model

SETTINGS = {
    "name": "x",
    "data": {"source": "shop", "users": 60},
    "model": {"layers": 3, "width": 32, "heads": 2, "networks": 2},
}
LARGE = ["model.layers=128", "model.width=16384"]
"""4 w² + 3 · w · 4w = 16 w² weights a layer: 2**32; with gradients and moments 16 bytes each."""


def experiment(*overrides: str):
    return with_overrides(SETTINGS, overrides)


def test_a_language_model_has_at_least_the_weights_that_its_layers_fix():
    (model,) = trained_by(experiment())
    assert model == Trained("model", networks=2, parameters=3 * 16 * 32**2)
    settings = experiment().model
    llama = new_model(settings, vocabulary=1, end=0, dropout=0.0, seed=0)
    norms_and_the_only_token = (2 * 3 + 1) * 32 + 1 * 32
    assert llama.num_parameters() == model.parameters + norms_and_the_only_token


def test_sasrec_counts_where_it_is_used():
    used = "rankers.use=[sasrec]", "rankers.sasrec.layers=5", "rankers.sasrec.width=8"
    _, sasrec = trained_by(experiment(*used, "rankers.sasrec.networks=3"))
    assert sasrec == Trained("rankers.sasrec", networks=3, parameters=5 * 12 * 8**2)


def test_memory_is_for_one_network_and_the_disk_for_all():
    part = Trained("model", networks=3, parameters=10)
    assert part.memory == 10 * (4 + 4 + 8)
    assert part.disk == 3 * 10 * 4 + 10 * (4 + 8)


@pytest.mark.parametrize("size", [[], LARGE[:1], ["model.networks=64"]])
def test_what_fits_goes_through(tmp_path, monkeypatch, size):
    monkeypatch.setattr(feasibility, "_memory", lambda: 2**30)
    require_room(experiment(*size), tmp_path)


def test_what_memory_cannot_hold_is_named_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(feasibility, "_memory", lambda: 16 * 2**30)
    gib = 128 * 2**32 * 16 // 2**30
    message = f"model takes at least {gib:,} GiB of memory, and this machine has 16 GiB"
    with pytest.raises(ConfigError, match=message):
        require_room(experiment(*LARGE), tmp_path)
    require_room(experiment(*LARGE), tmp_path, model=False)


def test_what_the_disk_cannot_hold_is_refused_too(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(feasibility, "_memory", lambda: 2**60)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 5 * 2**30))
    with pytest.raises(ConfigError, match=r"not/there has room for 5 GiB: take fewer networks"):
        require_room(experiment(*LARGE), tmp_path / "not" / "there")


def test_a_limit_of_the_process_is_a_limit_of_memory():
    before = resource.getrlimit(resource.RLIMIT_AS)
    machine = feasibility._memory()
    resource.setrlimit(resource.RLIMIT_AS, (2**50, before[1]))
    try:
        assert feasibility._memory() == min(machine, 2**50)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_force_goes_on_to_the_work_itself(processes, tmp_path):
    config, out = tmp_path / "x.yaml", tmp_path / "run"
    config.write_text("name: x\ndata: {source: shop, users: 60}\n")
    out.write_text("a note in the way, so that the work ends at once")
    refused = processes.gloss("run", config, *LARGE, "-o", out)
    forced = processes.gloss("run", config, *LARGE, "-o", out, "--force")
    assert ("GiB of memory" in refused.stderr, "GiB" in forced.stderr) == (True, False)
    assert (refused.code, forced.code) == (2, 1)
