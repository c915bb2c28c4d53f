"""`gloss baseline`: lists without a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gloss.cli.indexing import KNOWN as KNOWN_TO_INDEX
from gloss.cli.options import (
    Data,
    ExcludeSeen,
    Json,
    Length,
    LimitUsers,
    Out,
    ProtocolName,
    SplitOf,
    chosen_protocol,
    given,
)
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.evaluation.protocol import EvaluationProtocol
    from gloss.retrieval.index import IndexSettings

__all__ = ["register"]

_KNOWN = {
    "last-item": ("index", "retriever", "encoder"),
    "popularity": ("index",),
    "transitions": (),
    "two-step": (),
    "text": ("index",),
    "tuned": ("encoder",),
    "words": (),
    "sasrec": ("index", "networks", "seed"),
}
"""The options that each baseline understands."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(baseline)


def baseline(
    name: Annotated[str, typer.Argument(help=f"{', '.join(_KNOWN)}.", metavar="NAME")],
    data: Data,
    out: Out,
    index: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--index",
            help="last-item: index to search (default: made in memory); popularity: whose items to "
            "rank; text, sasrec: one made with --retriever dense, whose title vectors are read.",
        ),
    ] = None,
    retriever: Annotated[
        Literal["bm25", "dense", "hybrid"] | None,
        typer.Option("--retriever", help="last-item without an index: words, meaning or both."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="last-item without an index: see gloss index; tuned: one made by gloss encoder "
            "tune."
        ),
    ] = None,
    networks: Annotated[
        Path | None,
        typer.Option(
            help="sasrec: where the networks are or will be (default: OUT-networks); others that "
            "stand there are not replaced."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="sasrec: seed of the training (0).")
    ] = None,
    protocol: ProtocolName = "fair",
    split: SplitOf = "test",
    length: Length = None,
    exclude_seen: ExcludeSeen = None,
    limit_users: LimitUsers = None,
    json: Json = False,
) -> None:
    """Rank without a language model. sasrec is trained first; without an index, on ids alone.

    Example: gloss baseline transitions -d data/toys -k 300 -o runs/toys/transitions
    """
    from gloss import stages
    from gloss.cli import output

    if name not in _KNOWN:
        raise ConfigError(f"unknown baseline {name!r}, known are {', '.join(_KNOWN)}")
    typed = given(
        name,
        _KNOWN[name],
        index=index,
        retriever=retriever,
        encoder=encoder,
        networks=networks,
        seed=seed,
    )
    chosen = chosen_protocol(protocol, length=length, exclude_seen=exclude_seen)
    asked: dict[str, Any] = {
        "protocol": chosen,
        "split": split,
        "index": index,
        "limit_users": limit_users,
    }
    with output.announce("baseline") as progress:
        if name in stages.SIGNALS:
            made = _signal(name, data, out, typed, progress=progress, **asked)
        else:
            settings = _settings(chosen, **typed)
            made = stages.baseline(name, data, out, settings=settings, progress=progress, **asked)
    output.print_made(made, json=json)


def _settings(
    protocol: EvaluationProtocol,
    *,
    index: Path | None = None,
    retriever: Literal["bm25", "dense", "hybrid"] | None = None,
    encoder: str | None = None,
) -> IndexSettings:
    """How to search where no index is given."""
    from dataclasses import replace

    if index and (retriever or encoder):
        raise ConfigError("--index says how to search: leave out --retriever and --encoder")
    kind = retriever or "bm25"
    chosen = given(f"--retriever {kind}", KNOWN_TO_INDEX[kind], encoder=encoder)
    return replace(protocol.index_settings(kind), **chosen)


def _signal(name: str, data: Path, out: Path, typed: dict[str, Any], **asked: Any) -> Any:
    from gloss import stages
    from gloss.config import Signals

    networks = typed.get("networks") or out.with_name(f"{out.name}-networks")
    if name == "sasrec":
        stages.train_sasrec(
            data,
            networks,
            settings=Signals().sasrec.model_copy(update={"text": "index" in typed}),
            titles=asked["protocol"].title_style,
            seed=typed.get("seed", 0),
            index=typed.get("index"),
            # What is named may be a run's; OUT-networks is this command's own.
            replace="networks" not in typed,
            progress=asked["progress"],
        )
    encoder = Path(typed["encoder"]) if "encoder" in typed else None
    return stages.signal(
        name, data, out, signals=Signals(), encoder=encoder, networks=networks, **asked
    )
