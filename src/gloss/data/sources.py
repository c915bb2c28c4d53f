"""Where purchases come from: a section of settings, and the log that it leads to.

The one place that knows all readers.
"""

from __future__ import annotations

import os
from pathlib import Path

from gloss.artifacts import fingerprint_of_file
from gloss.config import AmazonData, ShopData, TableData
from gloss.data.amazon import find_files, read_amazon
from gloss.data.dataset import PurchaseLog
from gloss.data.downloads import MIRRORS, fetch_amazon
from gloss.data.shop import make_shop
from gloss.data.tables import read_tables
from gloss.progress import Progress

__all__ = ["DataSettings", "located", "name_of", "read_source", "source_files"]

DataSettings = ShopData | AmazonData | TableData


def located(settings: DataSettings, *, progress: Progress) -> DataSettings:
    """The same settings with their files in a folder: downloaded to the user's cache if need be."""
    if not isinstance(settings, AmazonData) or settings.folder is not None:
        return settings
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = fetch_amazon(
        settings.category,
        cache / "gloss" / "amazon2014",
        mirrors=settings.mirrors or MIRRORS,
        progress=lambda name, done, total: progress(done, total, f"{name}, bytes"),
    )
    return settings.model_copy(update={"folder": folder})


def name_of(settings: DataSettings) -> str:
    """What the data are called in reports."""
    match settings:
        case ShopData():
            return "synthetic shop"
        case AmazonData():
            return settings.category
        case TableData():
            return settings.interactions.name.split(".")[0]


def read_source(settings: DataSettings) -> PurchaseLog:
    """Read the files, or make the shop; see the readers for what they raise."""
    match settings:
        case ShopData():
            return make_shop(users=settings.users, seed=settings.seed)
        case AmazonData():
            assert settings.folder is not None
            return read_amazon(
                settings.category, settings.folder, max_bad_lines=settings.max_bad_lines
            )
        case TableData():
            return read_tables(
                settings.interactions,
                settings.items,
                user=settings.user,
                item=settings.item,
                time=settings.time,
                title=settings.title,
                item_in_items=settings.item_in_items,
                max_bad_lines=settings.max_bad_lines,
            )


def source_files(settings: DataSettings) -> dict[str, str]:
    """Fingerprints of the files by what they hold; a file that is missing is left to its reader."""
    match settings:
        case ShopData():
            return {}
        case AmazonData():
            assert settings.folder is not None
            files = find_files(settings.category, settings.folder)
        case TableData():
            files = (settings.interactions, settings.items)
    names = ("interactions", "items")
    return {
        name: fingerprint_of_file(file)
        for name, file in zip(names, files, strict=True)
        if file.is_file()
    }
