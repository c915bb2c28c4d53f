"""What models, baselines and retrievers are called on a page; an unknown one by its own name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gloss.report.content import LAST_ITEM

__all__ = ["baseline_name", "retriever_name"]

_BASELINES = {
    "fused": "GLoSS, fused with rankers",
    "last-item": LAST_ITEM,
    "sasrec": "SASRec",
    "rankers-only": "All rankers, without a language model",
    "dual-encoder": "Dual encoder",
    "second-order-transitions": "Second-order transitions",
    "title-similarity": "Title similarity",
    "transitions": "Transitions",
    "word-overlap": "Word overlap",
}
_ENCODERS = {
    "all-minilm-l6-v2": "MiniLM",
    "e5-base-v2": "E5-base",
    "e5-small-v2": "E5-small",
}
_SEARCHING = {"last-item"}
"""Baselines that search an index; the configuration of the others names one all the same."""


def baseline_name(name: str) -> str:
    """
    >>> baseline_name("sasrec"), baseline_name("most-recent")
    ('SASRec', 'Most recent')
    """
    words = name.replace("-", " ")
    return _BASELINES.get(name, words[:1].upper() + words[1:])


def retriever_name(config: Mapping[str, Any]) -> str:
    """What an evaluation's lists were searched with; empty for one that searches nothing.

    >>> retriever_name({"baseline": None, "index": {"retriever": "dense", "encoder": "e5-base-v2"}})
    'E5-base'
    """
    index = config.get("index")
    baseline = config.get("baseline")
    if not index or (baseline and baseline not in _SEARCHING):
        return ""
    folder = PurePath(str(index.get("encoder", ""))).name
    encoder = _ENCODERS.get(folder.casefold(), folder)
    kind = str(index.get("retriever", ""))
    return {"bm25": "BM25", "dense": encoder, "hybrid": f"BM25 and {encoder}"}.get(kind, kind)
