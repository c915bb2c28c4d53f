"""The card of a data set: what lies in its folder, for people and for the hub's tools.

The front matter is the hub's (huggingface.co/docs/hub/datasets-manual-configuration), so that
`datasets.load_dataset(FOLDER)` finds the splits. It says what the data are, not where they came
from: equal data have equal cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gloss.choices import SplitRule

__all__ = ["data_card"]

_SPLITS = ("train", "validation", "test")
_COUNTS = (
    "users",
    "purchases",
    "catalogue",
    "training users",
    "validation users",
    "test users",
)


def data_card(summary: Mapping[str, Any], split: SplitRule) -> str:
    """The README.md of a data set, as Markdown."""
    files = [{"split": name, "path": f"{name}.parquet"} for name in _SPLITS]
    front = {
        "tags": ["gloss", "recommendation"],
        "configs": [
            {"config_name": "next-purchase", "data_files": files, "default": True},
            {"config_name": "catalogue", "data_files": "catalogue.parquet"},
            {"config_name": "histories", "data_files": "histories.parquet"},
        ],
    }
    counts = "".join(f"| {name} | {summary[name]:,} |\n" for name in _COUNTS)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n"
        "# Purchases and titles, prepared by GLoSS\n\n"
        f"What people bought, in order, and what the items are called; split `{split}`.\n\n"
        f"| what | how many |\n|---|---|\n{counts}\n"
        "- `train`, `validation`, `test`: `user`, `history` (item ids, earliest first) and "
        "`target`, what was bought next.\n"
        "- `catalogue`: `item`, `title`, and any further columns.\n"
        "- `histories`: everybody's whole history with its times, test answers included: for "
        "serving, never for training.\n\n"
        "`manifest.json` says what the data were made from, what was left out, and the checksum "
        "of each file. Ids and histories are about persons: share them only if you may.\n"
    )
