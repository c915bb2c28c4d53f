"""`gloss baseline`: lists by a ranker that needs no language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from gloss.cli.ranker_options import is_trained, options_of, settings_of, sources_of

__all__ = ["register"]


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
        str | None,
        typer.Option("--retriever", help="last-item without an index: see gloss index."),
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
            "OUT-trained); what else stands there is not replaced."
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
    there; sasrec without an index is trained on ids alone. Several GPUs train together, as in gloss
    train.

    Example: gloss baseline transitions -d data/toys -k 300 -o runs/toys/transitions
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.rankers.specs import ranker_named
    from gloss.training.processes import is_first_process

    spec = ranker_named(name)
    chosen = chosen_protocol(protocol, length=length, exclude_seen=exclude_seen)
    settings = settings_of(spec, has_index=index is not None)
    typed = given(
        name,
        options_of(spec),
        index=index,
        retriever=retriever,
        encoder=encoder,
        trained=trained,
        seed=seed,
    )
    folder = trained or out.with_name(f"{out.name}-trained")
    with output.announce("baseline") as progress:
        sources = sources_of(spec, settings, data, chosen, typed, folder, progress)
        if spec.training and not is_trained(trained, seed):
            stages.train_ranker(
                spec, sources, folder, settings=settings, seed=seed or 0, progress=progress
            )
        if not is_first_process():
            return
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
