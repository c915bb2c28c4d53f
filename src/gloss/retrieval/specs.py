"""Every retriever, in one tuple: the place to add one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gloss.errors import ConfigError, named
from gloss.retrieval import hybrid
from gloss.retrieval.dense import milvus
from gloss.retrieval.dense import retriever as dense
from gloss.retrieval.lexical import bm25
from gloss.retrieval.retriever import RetrieverSpec
from gloss.retrieval.settings import IndexSettings

__all__ = ["RETRIEVERS", "retriever_named", "settings_from"]

RETRIEVERS: tuple[RetrieverSpec[Any], ...] = (bm25.SPEC, dense.SPEC, hybrid.SPEC, milvus.SPEC)


def retriever_named(name: str) -> RetrieverSpec[Any]:
    """The retriever of that name; ConfigError, naming the nearest, if there is none.

    >>> retriever_named("hybrid").label
    'BM25 and {encoder}'
    """
    return named(name, RETRIEVERS, what="retriever")


def settings_from(config: Mapping[str, Any]) -> IndexSettings:
    """The settings that a manifest records, as long as this version of GLoSS has the same ones.

    >>> settings_from({"retriever": "bm25", "k1": 1.2}).retriever
    'bm25'

    Raises ConfigError that names the settings that differ.
    """
    try:
        settings: IndexSettings = retriever_named(str(config.get("retriever"))).settings(**config)
        return settings
    except ValidationError as error:
        names = (".".join(map(str, problem["loc"])) for problem in error.errors())
        raise ConfigError(f"settings of another version of GLoSS: {', '.join(names)}") from None
