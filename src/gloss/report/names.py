"""What models, baselines and retrievers are called on a page; an unknown one by its own name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gloss.rankers.specs import RANKERS

__all__ = ["baseline_name", "retriever_name"]

_LABELS = {
    "fused": "GLoSS, fused with rankers",
    "rankers-only": "All rankers, without a language model",
    **{spec.name: spec.label for spec in RANKERS},
}
_ENCODERS = {
    "all-minilm-l6-v2": "MiniLM",
    "e5-base-v2": "E5-base",
    "e5-small-v2": "E5-small",
}


def baseline_name(name: str) -> str:
    """
    >>> baseline_name("sasrec"), baseline_name("most-recent")
    ('SASRec', 'Most recent')
    """
    words = name.replace("-", " ")
    return _LABELS.get(name, words[:1].upper() + words[1:])


def retriever_name(config: Mapping[str, Any]) -> str:
    """What an evaluation's lists were searched with; empty for one that searches nothing.

    >>> retriever_name({"index": {"retriever": "dense", "encoder": "e5-base-v2"}})
    'E5-base'
    """
    index = config.get("index")
    if not index:
        return ""
    folder = PurePath(str(index.get("encoder", ""))).name
    encoder = _ENCODERS.get(folder.casefold(), folder)
    kind = str(index.get("retriever", ""))
    return {"bm25": "BM25", "dense": encoder, "hybrid": f"BM25 and {encoder}"}.get(kind, kind)
