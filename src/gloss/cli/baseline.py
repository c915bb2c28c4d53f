"""`gloss baseline`: lists by a ranker that needs no language model."""

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
    from gloss.config import Settings
    from gloss.evaluation.protocol import EvaluationProtocol
    from gloss.progress import Progress
    from gloss.rankers.ranker import RankerSpec
    from gloss.rankers.sources import RankerSources
    from gloss.retrieval.retriever import IndexSettings

__all__ = ["register"]

_FOR_NEEDS = {
    "items": ("index",),
    "index": ("index", "retriever", "encoder"),
    "title-vectors": ("index",),
    "encoder": ("encoder",),
}
"""The options that say where what a ranker needs is found."""


def _print_names(wanted: bool) -> None:
    if wanted:
        from gloss.cli import output
        from gloss.rankers.specs import RANKERS

        for spec in RANKERS:
            output.print_line(f"{spec.name}: {spec.label}")
        raise typer.Exit


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(baseline)


def baseline(
    name: Annotated[
        str, typer.Argument(help="The ranker; see --names.", metavar="NAME", show_default=False)
    ],
    data: Data,
    out: Out,
    index: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--index",
            help="last-item: index to search (default: made in memory); popularity: whose items to "
            "rank; for rankers that read vectors of titles: one made with --retriever dense.",
        ),
    ] = None,
    retriever: Annotated[
        Literal["bm25", "dense", "hybrid"] | None,
        typer.Option("--retriever", help="last-item without an index: lexical, dense or both."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="last-item without an index: see gloss index; dual-encoder: what it is trained "
            "from."
        ),
    ] = None,
    trained: Annotated[
        Path | None,
        typer.Option(
            help="For rankers that are trained: what was trained, or where it will be (default: "
            "OUT-trained)."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="For rankers that are trained: of the training (0).")
    ] = None,
    protocol: ProtocolName = "fair",
    split: SplitOf = "test",
    length: Length = None,
    exclude_seen: ExcludeSeen = None,
    limit_users: LimitUsers = None,
    names: Annotated[
        bool,
        typer.Option("--names", callback=_print_names, is_eager=True, help="List the rankers."),
    ] = False,
    json: Json = False,
) -> None:
    """Rank without a language model. What has to be trained for it is trained first, if it is not
    there; sasrec without an index is trained on ids alone.

    Example: gloss baseline transitions -d data/toys -k 300 -o runs/toys/transitions
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.rankers.specs import ranker_named

    spec = ranker_named(name)
    chosen = chosen_protocol(protocol, length=length, exclude_seen=exclude_seen)
    settings = _settings(spec, has_index=index is not None)
    typed = given(
        name,
        _options_of(spec),
        index=index,
        retriever=retriever,
        encoder=encoder,
        trained=trained,
        seed=seed,
    )
    folder = trained or out.with_name(f"{out.name}-trained")
    with output.announce("baseline") as progress:
        sources = _sources(spec, settings, data, chosen, typed, folder, progress)
        if spec.training and not _is_trained(trained, seed):
            stages.train_ranker(
                spec, sources, folder, settings=settings, seed=seed or 0, progress=progress
            )
        made = stages.run_ranker(
            spec,
            sources,
            out,
            settings=settings,
            length=chosen.length,
            exclude_seen=chosen.exclude_seen,
            split=split,
            limit_users=limit_users,
            progress=progress,
        )
    output.print_made(made, json=json)


def _settings(spec: RankerSpec[Any], *, has_index: bool) -> Settings:
    """The ranker's own defaults; without title vectors where there are none."""
    settings: Settings = spec.settings()
    if "title-vectors" in spec.all_needs(settings) and not has_index:
        settings = spec.without_vectors or settings
    return settings


def _options_of(spec: RankerSpec[Any]) -> set[str]:
    """The options that mean something to a ranker."""
    needs = spec.all_needs(spec.settings())
    options = {option for need in needs for option in _FOR_NEEDS[need]}
    return options | ({"trained", "seed"} if spec.training else set())


def _sources(
    spec: RankerSpec[Any],
    settings: Settings,
    data: Path,
    protocol: EvaluationProtocol,
    typed: dict[str, Any],
    trained: Path,
    progress: Progress,
) -> RankerSources:
    from gloss.data.dataset import Dataset
    from gloss.rankers.sources import RankerSources
    from gloss.retrieval.retriever import ENCODER

    needs = spec.all_needs(settings)
    index, retriever, encoder = (typed.get(key) for key in ("index", "retriever", "encoder"))
    return RankerSources(
        Dataset.load(data),
        protocol.title_style,
        index=index if needs & {"items", "index"} else None,
        index_settings=(
            _index_settings(protocol, index, retriever, encoder) if "index" in needs else None
        ),
        vectors=index,
        encoder=(encoder if "encoder" in needs else None) or ENCODER,
        trained={spec.name: trained},
        progress=progress,
    )


def _index_settings(
    protocol: EvaluationProtocol,
    index: Path | None,
    retriever: Literal["bm25", "dense", "hybrid"] | None,
    encoder: str | None,
) -> IndexSettings:
    """How to search where no index is given."""
    from dataclasses import replace

    if index and (retriever or encoder):
        raise ConfigError("--index says how to search: leave out --retriever and --encoder")
    kind = retriever or "bm25"
    chosen = given(f"--retriever {kind}", KNOWN_TO_INDEX[kind], encoder=encoder)
    return replace(protocol.index_settings(kind), **chosen)


def _is_trained(folder: Path | None, seed: int | None) -> bool:
    """Whether a folder was named that holds what was trained before, and is used as it is."""
    from gloss.artifacts import MANIFEST

    if folder is None or not (folder / MANIFEST).is_file():
        return False
    if seed is not None:
        raise ConfigError(f"{folder} is trained already: leave out --seed, or name a new folder")
    return True
