"""The published figures of GLoSS, for comparison with ours. Reads `published.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from gloss.report.content import LAST_ITEM, Row, Segment, SegmentTable

__all__ = ["published_rows", "published_segments", "published_source"]

_MODELS = {
    "llama-1b": "GLoSS, Llama-3.2-1B",
    "llama-3b": "GLoSS, Llama-3.2-3B",
    "llama-8b": "GLoSS, Llama-3.1-8B",
    "last-item-search": LAST_ITEM,
}
_RETRIEVERS = {"bm25": "BM25", "e5-small-v2": "E5-small", "e5-base-v2": "E5-base"}
_ALL = "all"
_NAMES = {
    "beauty": "beauty",
    "toys": "toys",
    "toysandgames": "toys",
    "toysgames": "toys",
    "sports": "sports",
    "sportsandoutdoors": "sports",
    "sportsoutdoors": "sports",
}
"""The published name of a data set, by its name's letters."""


def published_rows(dataset: str, protocol: str) -> tuple[Row, ...]:
    """GLoSS's published Recall@5 and NDCG@5 (and MRR of its last-item search) on a data set.

    dataset: "beauty", "toys", "sports" or the category's full name in any spelling
    ("Toys_and_Games", "Toys & Games"); others have no published figures and no rows. The figures
    were measured under PAPER; for another `protocol` each row's note says so. No intervals were
    published.
    """
    note = "" if protocol.casefold() == "paper" else "measured under PAPER, not " + protocol.upper()
    return tuple(
        Row(model, everyone.values, {}, everyone.users, "published", note, retriever)
        for model, retriever, segments in _published(dataset)
        for everyone in (segments[_ALL],)
    )


def published_segments(dataset: str) -> tuple[SegmentTable, ...]:
    """The published figures by segment (cold, regular, power), where they were published."""
    tables = (
        SegmentTable(
            f"{model} + {retriever}",
            {name: part for name, part in segments.items() if name != _ALL},
        )
        for model, retriever, segments in _published(dataset)
    )
    return tuple(table for table in tables if table.segments)


def published_source() -> str:
    """Where the figures come from, for a caption."""
    document = _document()
    return f"{document['source']}; {document['protocol']}"


def _published(dataset: str) -> Iterator[tuple[str, str, dict[str, Segment]]]:
    """Model, retriever, and figures by segment."""
    name = _NAMES.get("".join(filter(str.isalpha, dataset.casefold())), "")
    for model, retrievers in _document()["results"].get(name, {}).items():
        for retriever, segments in retrievers.items():
            found = {segment: _segment(figures) for segment, figures in segments.items()}
            yield _MODELS[model], _RETRIEVERS[retriever], found


def _segment(figures: list[Any]) -> Segment:
    users, *means = figures
    metrics = _document()["columns"][1:]
    named = zip(metrics, means, strict=True)
    return Segment(users, {metric: mean for metric, mean in named if mean is not None})


@cache
def _document() -> dict[str, Any]:
    text = files("gloss.report").joinpath("published.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
