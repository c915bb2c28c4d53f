"""`gloss rank`, `gloss fuse`, `gloss evaluate`: from titles and lists to figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from gloss.cli.options import Data, ExcludeSeen, Json, Length, Out, ProtocolName, chosen_protocol
from gloss.config import TitleFusion

__all__ = ["register"]

PerQuery = Annotated[
    int | None, typer.Option("--per-query", min=1, help="Items taken for each title.")
]
Fusion = Annotated[
    TitleFusion | None,
    typer.Option("--fusion", help="How the items of several titles are joined."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(rank)
    app.command()(fuse)
    app.command()(evaluate)


def rank(
    generations: Annotated[
        Path,
        typer.Option("-g", "--generations", help="Made by `gloss generate`, or research JSON."),
    ],
    index: Annotated[Path, typer.Option("-i", "--index", help="Made by `gloss index`.")],
    out: Out,
    protocol: ProtocolName = "fair",
    per_query: PerQuery = None,
    fusion: Fusion = None,
    length: Length = None,
    exclude_seen: ExcludeSeen = None,
    json: Json = False,
) -> None:
    """Find the items that generated titles mean. Options override the protocol.

    Example: gloss rank -g runs/toys/generations -i indexes/toys-bm25 -o runs/toys/ranking
    """
    from gloss.cli import output
    from gloss.experiment import stages

    chosen = chosen_protocol(
        protocol, per_query=per_query, fusion=fusion, length=length, exclude_seen=exclude_seen
    )
    with output.announce("rank"):
        made = stages.rank(generations, index, out, protocol=chosen)
    output.print_made(made, json=json)


def fuse(
    rankings: Annotated[
        list[Path], typer.Argument(help="Long lists of the same users, a folder a ranker.")
    ],
    data: Data,
    out: Out,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation",
            help="The same rankers asked of validation users, in the same order: one option each.",
        ),
    ] = None,
    rule: Annotated[
        Literal["log-linear", "trees", "reciprocal-rank"],
        typer.Option(
            "--rule", help="By weights or trees fitted on validation users, or by ranks alone."
        ),
    ] = "log-linear",
    length: Annotated[int, typer.Option("-k", "--length", min=1, help="Items in a list.")] = 20,
    shifted_run: Annotated[
        Path | None,
        typer.Option(
            "--shifted-run",
            help="The data set whose validation users were asked, where it is another split.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """One ranking out of several: what each item's score and place are worth, fitted.

    Example: gloss fuse test/a test/b --validation val/a --validation val/b -d data/toys -o test/ab
    """
    from gloss.cli import output
    from gloss.experiment import stages
    from gloss.fusion.rules import rule_named

    with output.announce("fuse"):
        made = stages.fuse(
            rankings,
            validation or [],
            data,
            out,
            rule=rule_named(rule),
            length=length,
            shifted_run=shifted_run,
        )
    output.print_made(made, json=json)


def evaluate(
    ranking: Annotated[Path, typer.Option("-r", "--ranking", help="Made by rank or baseline.")],
    data: Data,
    protocol: ProtocolName = "fair",
    cutoff: Annotated[
        list[int] | None, typer.Option(min=1, help="List length to measure at; may be repeated.")
    ] = None,
    cold: Annotated[int | None, typer.Option(min=1, help="Most purchases of a cold user.")] = None,
    regular: Annotated[
        int | None, typer.Option(min=1, help="Most purchases of a regular user.")
    ] = None,
    generations: Annotated[
        Path | None,
        typer.Option("-g", "--generations", help="What was ranked: measures titles and beams too."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to write (default: RANKING-evaluation)."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure a ranking: Recall, NDCG, MRR, with intervals, over all users and by segment.

    Example: gloss evaluate -r runs/toys/ranking -d data/toys --protocol paper
    """
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.evaluation.evaluate import read_figures
    from gloss.evaluation.segments import SegmentBounds, default_bounds
    from gloss.experiment import stages

    chosen = chosen_protocol(protocol, cutoffs=tuple(cutoff) if cutoff else None)
    usual = default_bounds(Dataset.load(data).name)
    bounds = SegmentBounds(cold or usual.cold, regular or usual.regular)
    folder = out or ranking.with_name(f"{ranking.name}-evaluation")
    made = stages.evaluate(
        ranking, data, folder, protocol=chosen, bounds=bounds, generations=generations
    )
    figures = read_figures(made)
    if json:
        output.print_json(figures)
    else:
        output.print_figures(str(ranking), figures)
