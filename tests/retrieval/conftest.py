from __future__ import annotations

import polars as pl
import pytest

from gloss.data.dataset import Dataset, PurchaseLog, prepare
from preparing import save_dataset

TITLES = {"b1": "Salt &amp; Pepper", "b2": "Pepper mill", "b3": "Tea pot"}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    bought = [(user, item, time) for user in "uv" for time, item in enumerate(TITLES)]
    log = PurchaseLog(
        pl.DataFrame(bought, schema=["user", "item", "time"], orient="row"),
        pl.DataFrame({"item": list(TITLES), "title": list(TITLES.values())}),
        {},
    )
    save_dataset(prepare(log, split="paper"), tmp_path / "data")
    return Dataset.load(tmp_path / "data")
