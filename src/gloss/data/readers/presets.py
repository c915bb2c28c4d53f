"""Public data sets by name: which of their files are read, and how.

A preset is a set of settings for `TableData`, the same that a person would type. Where purchases
have to be put together from several files first (Instacart, MIND, RetailRocket), a function does it
and leaves a Parquet file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gloss.config import AmazonData, PresetData, PresetName, TableData
from gloss.data.readers.dialects import DialectChoice
from gloss.data.readers.lines import BadLines
from gloss.data.readers.opening import LocalFile, open_table
from gloss.data.readers.raw import Request
from gloss.errors import InputError

__all__ = ["amazon_tables", "gathered"]

_PACKED = ("", ".gz", ".zst", ".zip")
_RULES = (
    "where",
    "drop_repeats",
    "min_purchases",
    "min_user_purchases",
    "min_item_purchases",
    "unknown_share",
    "max_bad_lines",
    "split",
)

Gather = Callable[[Mapping[str, Path], Path], Mapping[str, Path]]
"""From the files of a data set, by what they hold, to the tables that are read."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """One way in which a data set is published. files: by what they hold ("interactions", "items",
    or anything that `gather` knows), patterns of their names; settings: how the tables are read."""

    files: Mapping[str, Sequence[str]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gather: Gather | None = None


def gathered(settings: PresetData, workspace: Path) -> tuple[TableData, list[tuple[str, Path]]]:
    """How to read a data set in its folder, and the files that it was published as.

    Raises InputError when the folder lacks a file.
    """
    layouts = _LAYOUTS[settings.preset]
    layout, files = _present(layouts, settings)
    rules = {name: getattr(settings, name) for name in _RULES}
    given = {name: value for name, value in rules.items() if name in settings.model_fields_set}
    tables = dict(files)
    chosen = {**layout.settings, **given}
    if layout.gather is not None:
        tables.update(layout.gather(files, workspace))
    chosen["interactions"] = tables["interactions"]
    if "items" in tables:
        chosen["items"] = tables["items"]
    if settings.preset == "recbole":
        chosen["title"] = _title_column(files["items"])
    return TableData(source="table", **chosen), sorted(files.items())


def _present(layouts: Sequence[_Layout], settings: PresetData) -> tuple[_Layout, dict[str, Path]]:
    """The first layout whose files are all in the folder."""
    folder = settings.folder
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name the one with the files of the data set")
    for layout in layouts:
        found = {what: _find(folder, names) for what, names in layout.files.items()}
        if all(found.values()):
            return layout, {what: path for what, path in found.items() if path is not None}
    wanted = " or ".join(
        " and ".join(names[0] for names in layout.files.values()) for layout in layouts
    )
    raise InputError(
        f"{folder} does not hold the files of {settings.preset}: {wanted} (each also .gz, .zst or "
        ".zip)"
    )


def _find(folder: Path, patterns: Sequence[str]) -> Path | None:
    for pattern in patterns:
        for packed in _PACKED:
            found = sorted(folder.glob(pattern + packed))
            if found:
                return found[0]
    return None


_TITLES = ("title", "movie_title", "name", "item_name", "product_name", "app_name", "artist_name")


def _title_column(items: Path) -> str:
    """The column of a RecBole item file that holds titles."""
    table = open_table(
        LocalFile(items, items),
        Request((), everything=True),
        DialectChoice(),
        BadLines(0),
        workspace=items.parent,
    )
    names = table.frame.collect_schema().names()
    for title in (*_TITLES, *(name for name in names if "title" in name or "name" in name)):
        if title in names:
            return title
    raise InputError(f"{items} has no column of titles; it has {', '.join(names)}")


def amazon_tables(settings: AmazonData) -> TableData:
    """How a category of the Amazon reviews of 2018 or 2023 is read.

    Raises InputError when the folder lacks a file.
    """
    layouts = _amazon_layouts(settings.category)[settings.edition]
    if settings.folder is None:
        raise InputError(
            f"the Amazon reviews of {settings.edition} are not fetched: name the folder that holds "
            "them with --source"
        )
    wanted = PresetData(source="preset", preset="recbole", folder=settings.folder)
    layout, files = _present(layouts, wanted)
    return TableData(
        source="table",
        interactions=files["interactions"],
        items=files["items"],
        min_purchases=settings.min_purchases,
        max_bad_lines=settings.max_bad_lines,
        split=settings.split,
        keep_unbought=False,
        **layout.settings,
    )


def _amazon_layouts(category: str) -> dict[str, list[_Layout]]:
    return {
        "2018": [
            _Layout(
                {
                    "interactions": [f"{category}_5.json", f"{category}.json"],
                    "items": [f"meta_{category}.json"],
                },
                {"user": "reviewerID", "item": "asin", "time": "unixReviewTime"},
            ),
            _Layout(
                {"interactions": [f"{category}.csv"], "items": [f"meta_{category}.json"]},
                {
                    "user": "2",
                    "item": "1",
                    "time": "4",
                    "header": False,
                    "item_in_items": "asin",
                },
            ),
        ],
        "2023": [
            _Layout(
                {
                    "interactions": [f"{category}.jsonl", f"{category}.csv"],
                    "items": [f"meta_{category}.jsonl"],
                },
                {"user": "user_id", "item": "parent_asin", "time": "timestamp"},
            )
        ],
    }


def _text(path: Path, columns: Sequence[str], workspace: Path, **said: Any) -> pl.LazyFrame:
    """Columns of one file of a data set, as text, strictly."""
    bad = BadLines(0)
    request = Request(tuple(columns))
    choice = DialectChoice(**said)
    table = open_table(LocalFile(path, path), request, choice, bad, workspace=workspace)
    bad.check()
    return table.frame.select(pl.col(name).cast(pl.String) for name in columns)


def _instacart(files: Mapping[str, Path], workspace: Path) -> dict[str, Path]:
    """Products of orders, in the order of a user's orders and of the basket."""
    orders = _text(files["orders"], ("order_id", "user_id", "order_number"), workspace)
    names = ("order_id", "product_id", "add_to_cart_order")
    baskets = pl.concat(_text(files[name], names, workspace) for name in ("prior", "train"))
    place = pl.col("order_number").cast(pl.Int64) * 1000 + pl.col("add_to_cart_order").cast(
        pl.Int64
    )
    target = workspace / "instacart.parquet"
    baskets.join(orders, on="order_id").select(
        "user_id", "product_id", place.alias("place")
    ).sink_parquet(target)
    return {"interactions": target}


def _mind(files: Mapping[str, Path], workspace: Path) -> dict[str, Path]:
    """What people had clicked before the first impression, then what they clicked."""
    names = ("1", "2", "3", "4", "5")
    rows = _text(files["behaviors"], names, workspace, header=False, quote="", delimiter="\t")
    rows = rows.rename(dict(zip(names, ("row", "user", "time", "history", "shown"), strict=True)))
    when = pl.col("time").str.to_datetime("%m/%d/%Y %I:%M:%S %p").dt.epoch("s")
    rows = rows.select("user", when.alias("time"), "history", "shown")
    first = rows.sort("time", maintain_order=True).unique("user", keep="first", maintain_order=True)
    before = first.select("user", pl.col("time") - 1, pl.col("history").str.split(" "))
    clicked = rows.select("user", "time", pl.col("shown").str.split(" ")).explode("shown")
    clicked = clicked.filter(pl.col("shown").str.ends_with("-1"))
    purchases = pl.concat(
        [
            before.explode("history").select("user", "time", item="history"),
            clicked.select("user", "time", item=pl.col("shown").str.strip_suffix("-1")),
        ]
    )
    target = workspace / "mind.parquet"
    purchases.drop_nulls("item").filter(pl.col("item") != "").sink_parquet(target)
    return {"interactions": target}


def _retailrocket(files: Mapping[str, Path], workspace: Path) -> dict[str, Path]:
    """Items with the latest of the hashed words that stand for their names (property 888)."""
    names = ("timestamp", "itemid", "property", "value")
    parts = [files[name] for name in ("properties 1", "properties 2")]
    rows = pl.concat(_text(part, names, workspace) for part in parts)
    rows = rows.with_columns(pl.col("timestamp").cast(pl.Int64))
    latest = rows.filter(pl.col("property").is_in(["888", "categoryid"]))
    latest = latest.sort("timestamp", maintain_order=True).unique(
        ["itemid", "property"], keep="last", maintain_order=True
    )
    words = latest.filter(pl.col("property") == "888").select("itemid", words="value")
    categories = latest.filter(pl.col("property") == "categoryid").select(
        "itemid", category="value"
    )
    items = categories.join(words, on="itemid", how="full", coalesce=True)
    title = pl.concat_str(
        pl.format("category {}", "category"), "words", separator=": ", ignore_nulls=True
    )
    target = workspace / "retailrocket.parquet"
    items.select("itemid", title.alias("title"), "category").sort("itemid").sink_parquet(target)
    return {"items": target}


_MOVIELENS_CSV = {"user": "userId", "item": "movieId", "time": "timestamp", "columns": ("genres",)}

_LAYOUTS: dict[PresetName, Sequence[_Layout]] = {
    "movielens-100k": [
        _Layout(
            {"interactions": ["u.data"], "items": ["u.item"]},
            {
                "header": False,
                "quote": "",
                "delimiter": "\t",
                "items_delimiter": "|",
                "items_encoding": "latin-1",
                "user": "1",
                "item": "2",
                "time": "4",
                "item_in_items": "1",
                "title": "2",
            },
        )
    ],
    "movielens-1m": [
        _Layout(
            {"interactions": ["ratings.dat"], "items": ["movies.dat"]},
            {
                "header": False,
                "delimiter": "::",
                "user": "1",
                "item": "2",
                "time": "4",
                "item_in_items": "1",
                "title": "2",
            },
        )
    ],
    "movielens-25m": [
        _Layout({"interactions": ["ratings.csv"], "items": ["movies.csv"]}, _MOVIELENS_CSV)
    ],
    "recbole": [
        _Layout(
            {"interactions": ["*.inter"], "items": ["*.item"]},
            {
                "user": "user_id",
                "item": "item_id",
                "time": "timestamp",
                "delimiter": "\t",
                "quote": "",
            },
        )
    ],
    "mind": [
        _Layout(
            {"behaviors": ["behaviors.tsv"], "items": ["news.tsv"]},
            {
                "user": "user",
                "item": "item",
                "time": "time",
                "items_header": False,
                "items_quote": "",
                "items_delimiter": "\t",
                "item_in_items": "1",
                "title": "4",
            },
            _mind,
        )
    ],
    "steam": [
        _Layout(
            {
                "interactions": ["steam_reviews.json", "steam_new.json"],
                "items": ["steam_games.json"],
            },
            {
                "user": "username",
                "item": "product_id",
                "time": "date",
                "item_in_items": "id",
                "title": "app_name",
            },
        )
    ],
    "yelp": [
        _Layout(
            {
                "interactions": ["yelp_academic_dataset_review.json", "review.json"],
                "items": ["yelp_academic_dataset_business.json", "business.json"],
            },
            {
                "user": "user_id",
                "item": "business_id",
                "time": "date",
                "title": "name",
                "columns": ("city", "categories"),
                "keep_unbought": False,
            },
        )
    ],
    "retailrocket": [
        _Layout(
            {
                "interactions": ["events.csv"],
                "properties 1": ["item_properties_part1.csv"],
                "properties 2": ["item_properties_part2.csv"],
            },
            {
                "user": "visitorid",
                "item": "itemid",
                "time": "timestamp",
                "where": "event = 'transaction'",
                "columns": ("category",),
                "keep_unbought": False,
            },
            _retailrocket,
        )
    ],
    "hm": [
        _Layout(
            {
                "interactions": ["transactions_train.csv", "transactions_train.*"],
                "items": ["articles.csv", "articles.*"],
            },
            {
                "user": "customer_id",
                "item": "article_id",
                "time": "t_dat",
                "title": "prod_name",
                "drop_leading_zeros": True,
            },
        )
    ],
    "instacart": [
        _Layout(
            {
                "orders": ["orders.csv"],
                "prior": ["order_products__prior.csv"],
                "train": ["order_products__train.csv"],
                "items": ["products.csv"],
            },
            {
                "user": "user_id",
                "item": "product_id",
                "time": "place",
                "title": "product_name",
            },
            _instacart,
        )
    ],
    "online-retail": [
        _Layout(
            {"interactions": ["Online*etail.xlsx", "[Oo]nline*etail.csv"]},
            {
                "user": "CustomerID",
                "item": "StockCode",
                "time": "InvoiceDate",
                "title": "Description",
                "where": '"Quantity" > 0 AND "CustomerID" IS NOT NULL',
            },
        ),
        _Layout(
            {"interactions": ["online_retail_II.xlsx", "online_retail_II.csv"]},
            {
                "user": "Customer ID",
                "item": "StockCode",
                "time": "InvoiceDate",
                "title": "Description",
                "where": '"Quantity" > 0 AND "Customer ID" IS NOT NULL',
            },
        ),
    ],
    "lastfm": [
        _Layout(
            {"interactions": ["userid-timestamp-artid-artname-traid-traname.tsv"]},
            {
                "header": False,
                "quote": "",
                "delimiter": "\t",
                "user": "1",
                "time": "2",
                "item": "4",
                "title": "4",
                "drop_repeats": True,
            },
        ),
        _Layout(
            {
                "interactions": ["user_taggedartists-timestamps.dat"],
                "items": ["artists.dat"],
            },
            {
                "quote": "",
                "delimiter": "\t",
                "user": "userID",
                "item": "artistID",
                "time": "timestamp",
                "item_in_items": "id",
                "title": "name",
                "drop_repeats": True,
            },
        ),
    ],
}
