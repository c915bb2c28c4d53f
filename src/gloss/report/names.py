"""What models, baselines and retrievers are called on a page; an unknown one by its own name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from gloss.rankers.specs import RANKERS
from gloss.retrieval.specs import RETRIEVERS

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


def retriever_name(index: Mapping[str, Any] | None) -> str:
    """What lists were searched with, by the settings of the index; empty without one.

    >>> retriever_name({"retriever": "dense", "encoder": "e5-base-v2"})
    'E5-base'
    """
    if not index:
        return ""
    folder = PurePath(str(index.get("encoder", ""))).name
    encoder = _ENCODERS.get(folder.casefold(), folder)
    kind = str(index.get("retriever", ""))
    labels = {spec.name: spec.label for spec in RETRIEVERS}
    return labels.get(kind, kind).replace("{encoder}", encoder)
