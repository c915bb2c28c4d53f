"""`gloss index`: what a catalogue is searched with."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gloss.cli.options import Data, Encoder, Json, Out, ProtocolName, RetrieverOf, given

__all__ = ["KNOWN", "register"]

_COMMON = ("title_style", "exact_first")
_WORDS = (*_COMMON, "marker", "k1", "b", "stopwords")
_MEANING = (*_COMMON, "marker", "encoder", "prefixes", "neighbours")
KNOWN = {
    "bm25": _WORDS,
    "dense": _MEANING,
    "hybrid": (*_WORDS, *_MEANING, "blend", "weight"),
}
"""The options that each retriever understands."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(index)


def index(
    data: Data,
    out: Out,
    retriever: RetrieverOf = "bm25",
    protocol: ProtocolName = "fair",
    titles: Annotated[
        Literal["fair", "paper"] | None,
        typer.Option(help="How titles are cleaned (default: as the protocol says)."),
    ] = None,
    marker: Annotated[
        bool | None,
        typer.Option("--marker/--no-marker", help='Begin titles and texts with "Title: ", or not.'),
    ] = None,
    exact_first: Annotated[
        bool | None,
        typer.Option(
            "--exact-first/--by-score", help="Items of exactly that title come first, or not."
        ),
    ] = None,
    k1: Annotated[float | None, typer.Option(min=0, help="BM25: saturation (1.5).")] = None,
    b: Annotated[
        float | None, typer.Option(min=0, max=1, help="BM25: share of the length (0.75).")
    ] = None,
    stopwords: Annotated[
        str | None, typer.Option(help="BM25: the language of words that are left out (en).")
    ] = None,
    encoder: Encoder = None,
    prefixes: Annotated[
        bool | None,
        typer.Option(
            "--prefixes/--no-prefixes",
            help="Write texts as the encoder was trained to read them, or not.",
        ),
    ] = None,
    neighbours: Annotated[
        Literal["auto", "exact", "hnsw", "ivf"] | None,
        typer.Option("--neighbours", help="Near vectors: exactly, or by FAISS (hnsw, ivf)."),
    ] = None,
    blend: Annotated[
        Literal["rrf", "weighted"] | None,
        typer.Option("--blend", help="How hybrid joins both: by ranks (default) or by scores."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option("--weight", min=0, max=1, help="Share of the meaning in hybrid (0.5)."),
    ] = None,
    json: Json = False,
) -> None:
    """Index a catalogue. Options override the protocol.

    Example: gloss index -d data/toys --retriever dense -o indexes/toys-dense
    """
    from dataclasses import replace

    from gloss.cli import output
    from gloss.evaluation.protocol import protocol_named
    from gloss.experiment import stages

    chosen = given(
        f"--retriever {retriever}",
        KNOWN[retriever],
        title_style=titles,
        marker=marker,
        exact_first=exact_first,
        k1=k1,
        b=b,
        stopwords=stopwords,
        encoder=encoder,
        prefixes=prefixes,
        neighbours=neighbours,
        blend=blend,
        weight=weight,
    )
    settings = replace(protocol_named(protocol).index_settings(retriever), **chosen)
    with output.announce("index") as progress:
        made = stages.index(data, out, settings=settings, progress=progress)
    output.print_made(made, json=json)
