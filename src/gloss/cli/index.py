"""`gloss index`: what a catalogue is searched with.

The options are the fields of `gloss.retrieval.settings`, with their descriptions and bounds.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gloss.cli.options import Data, Encoder, Json, Out, ProtocolName, RetrieverOf, given, setting
from gloss.data.titles import TitleStyle
from gloss.retrieval.lexical.words import WordRule
from gloss.retrieval.settings import (
    PROTOCOL_SETTINGS,
    HybridFusion,
    HybridSettings,
    MilvusSettings,
    Neighbours,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(index)


def _setting(name: str, *flags: str) -> Any:
    """The option of a retriever's setting; not typed, it is the protocol's or the usual."""
    section = HybridSettings if name in HybridSettings.model_fields else MilvusSettings
    default = None if name in PROTOCOL_SETTINGS else section.model_fields[name].default
    return setting(section, name, *flags, default=default)


def index(
    data: Data,
    out: Out,
    retriever: RetrieverOf = "bm25",
    protocol: ProtocolName = "fair",
    titles: Annotated[TitleStyle | None, _setting("title_style", "--titles")] = None,
    marker: Annotated[bool | None, _setting("marker", "--marker/--no-marker")] = None,
    exact_first: Annotated[bool | None, _setting("exact_first", "--exact-first/--by-score")] = None,
    popular_first: Annotated[
        bool | None, _setting("popular_first", "--popular-first/--by-row")
    ] = None,
    k1: Annotated[float | None, _setting("k1")] = None,
    b: Annotated[float | None, _setting("b")] = None,
    words: Annotated[WordRule | None, _setting("words")] = None,
    stopwords: Annotated[str | None, _setting("stopwords")] = None,
    encoder: Encoder = None,
    prefixes: Annotated[bool | None, _setting("prefixes", "--prefixes/--no-prefixes")] = None,
    neighbours: Annotated[Neighbours | None, _setting("neighbours")] = None,
    fusion: Annotated[HybridFusion | None, _setting("fusion")] = None,
    weight: Annotated[float | None, _setting("weight")] = None,
    address: Annotated[str | None, _setting("address")] = None,
    collection: Annotated[str | None, _setting("collection")] = None,
    json: Json = False,
) -> None:
    """Index a catalogue. Without an option, the protocol decides.

    Example: gloss index -d data/toys --retriever dense -o indexes/toys-dense
    """
    from gloss.cli import output
    from gloss.evaluation.protocol import protocol_named
    from gloss.experiment import stages
    from gloss.retrieval.specs import retriever_named

    chosen = given(
        f"--retriever {retriever}",
        retriever_named(retriever).settings.model_fields,
        title_style=titles,
        marker=marker,
        exact_first=exact_first,
        popular_first=popular_first,
        k1=k1,
        b=b,
        words=words,
        stopwords=stopwords,
        encoder=encoder,
        prefixes=prefixes,
        neighbours=neighbours,
        fusion=fusion,
        weight=weight,
        address=address,
        collection=collection,
    )
    settings = protocol_named(protocol).index_settings(retriever, **chosen)
    with output.announce("index") as progress:
        made = stages.index(data, out, settings=settings, progress=progress)
    output.print_made(made, json=json)
