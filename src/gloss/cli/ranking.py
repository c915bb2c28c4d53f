"""`gloss index`, `rank`, `baseline`, `fuse` and `evaluate`: from titles to figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gloss.cli.options import Data, Json, LimitUsers, Out, ProtocolName, SplitOf
from gloss.errors import ConfigError

if TYPE_CHECKING:
    from gloss.evaluation.protocol import EvaluationProtocol

__all__ = ["register"]

PerQuery = Annotated[
    int | None, typer.Option("--per-query", min=1, help="Items taken for each title.")
]
Fusion = Annotated[
    Literal["best-score", "beam-order", "last", "rrf"] | None,
    typer.Option("--fusion", help="How the items of several titles are joined."),
]
Length = Annotated[int | None, typer.Option("-k", "--length", min=1, help="Items in a list.")]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Sentence encoder: all-MiniLM-L6-v2 (default), e5-small-v2, e5-base-v2, a folder or "
        "hub:OWNER/NAME.",
    ),
]
ExcludeSeen = Annotated[
    bool | None,
    typer.Option("--exclude-seen/--keep-seen", help="Leave out what was bought already, or not."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(index)
    app.command()(rank)
    app.command()(baseline)
    app.command()(fuse)
    app.command()(evaluate)


def index(
    data: Data,
    out: Out,
    retriever: Annotated[
        Literal["bm25", "dense", "hybrid"],
        typer.Option("--retriever", help="Search by words, by meaning, or both."),
    ] = "bm25",
    encoder: Encoder = None,
    blend: Annotated[
        Literal["rrf", "weighted"] | None,
        typer.Option("--blend", help="How hybrid joins both: by ranks (default) or by scores."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option("--weight", min=0, max=1, help="Share of the meaning in hybrid (0.5)."),
    ] = None,
    neighbours: Annotated[
        Literal["auto", "exact", "hnsw", "ivf"] | None,
        typer.Option("--neighbours", help="Near vectors: exactly, or by FAISS (hnsw, ivf)."),
    ] = None,
    protocol: ProtocolName = "fair",
    json: Json = False,
) -> None:
    """Index a catalogue.

    Example: gloss index -d data/toys --retriever dense -o indexes/toys-dense
    """
    from dataclasses import replace

    from gloss import stages
    from gloss.cli import output
    from gloss.evaluation.protocol import protocol_named

    chosen = _understood(
        retriever, encoder=encoder, neighbours=neighbours, blend=blend, weight=weight
    )
    settings = replace(protocol_named(protocol).index_settings(retriever), **chosen)
    with output.announce("index") as progress:
        made = stages.index(data, out, settings=settings, progress=progress)
    output.print_made(made, json=json)


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
    from gloss import stages
    from gloss.cli import output

    chosen = _protocol(
        protocol, per_query=per_query, fusion=fusion, length=length, exclude_seen=exclude_seen
    )
    with output.announce("rank"):
        made = stages.rank(generations, index, out, protocol=chosen)
    output.print_made(made, json=json)


def baseline(
    name: Annotated[
        str,
        typer.Argument(help="last-item, popularity, transitions, two-step, text or sasrec."),
    ],
    data: Data,
    out: Out,
    index: Annotated[
        Path | None,
        typer.Option(
            "-i",
            "--index",
            help="Index to search (default: made in memory); for text and sasrec one made with "
            "--retriever dense.",
        ),
    ] = None,
    retriever: Annotated[
        Literal["bm25", "dense", "hybrid"] | None,
        typer.Option("--retriever", help="Without an index: by words (default), meaning or both."),
    ] = None,
    encoder: Encoder = None,
    networks: Annotated[
        Path | None,
        typer.Option(help="sasrec: where the networks are or will be (default: OUT-networks)."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="sasrec: seed of the training.")] = 0,
    protocol: ProtocolName = "fair",
    split: SplitOf = "test",
    length: Length = None,
    exclude_seen: ExcludeSeen = None,
    limit_users: LimitUsers = None,
    json: Json = False,
) -> None:
    """Rank without a language model. sasrec is trained first; without an index, on ids alone.

    Example: gloss baseline transitions -d data/toys -k 200 -o runs/toys/transitions
    """
    from dataclasses import replace

    from gloss import stages
    from gloss.cli import output
    from gloss.config import Signals

    known = (*stages.BASELINES, *stages.SIGNALS)
    if name not in known:
        raise ConfigError(f"unknown baseline {name!r}, known are {', '.join(known)}")
    chosen = _protocol(protocol, length=length, exclude_seen=exclude_seen)
    if index and (retriever or encoder):
        raise ConfigError("--index says how to search: leave out --retriever and --encoder")
    kind = retriever or "bm25"
    settings = replace(chosen.index_settings(kind), **_understood(kind, encoder=encoder))
    with output.announce("baseline") as progress:
        if name in stages.BASELINES:
            made = stages.baseline(
                name,
                data,
                out,
                protocol=chosen,
                split=split,
                index=index,
                settings=settings,
                limit_users=limit_users,
                progress=progress,
            )
        else:
            trained = networks or out.with_name(f"{out.name}-networks")
            if name == "sasrec":
                stages.train_sasrec(
                    data,
                    trained,
                    settings=Signals().sasrec.model_copy(update={"text": index is not None}),
                    titles=chosen.title_style,
                    seed=seed,
                    index=index,
                    progress=progress,
                )
            made = stages.signal(
                name,
                data,
                out,
                signals=Signals(),
                protocol=chosen,
                split=split,
                index=index,
                networks=trained,
                limit_users=limit_users,
                progress=progress,
            )
    output.print_made(made, json=json)


def fuse(
    rankings: Annotated[
        list[Path], typer.Argument(help="Long lists of the same users, a folder a signal.")
    ],
    data: Data,
    out: Out,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation",
            help="The same signals asked of validation users, in the same order: one option each.",
        ),
    ] = None,
    rule: Annotated[
        Literal["log-linear", "rank"],
        typer.Option("--rule", help="By weights fitted on validation users, or by ranks alone."),
    ] = "log-linear",
    length: Annotated[int, typer.Option("-k", "--length", min=1, help="Items in a list.")] = 20,
    json: Json = False,
) -> None:
    """One ranking out of several: what each item's score and place are worth, fitted.

    Example: gloss fuse test/a test/b --validation val/a --validation val/b -d data/toys -o test/ab
    """
    from gloss import stages
    from gloss.cli import output

    with output.announce("fuse"):
        made = stages.fuse(rankings, validation or [], data, out, rule=rule, length=length)
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
    from gloss import stages
    from gloss.cli import output
    from gloss.data.dataset import Dataset
    from gloss.evaluation.evaluate import read_figures
    from gloss.evaluation.segments import SegmentBounds, default_bounds

    chosen = _protocol(protocol, cutoffs=tuple(cutoff) if cutoff else None)
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


def _understood(retriever: str, **options: Any) -> dict[str, Any]:
    """The options that were given; one that the retriever does not know is an error."""
    known = {
        "bm25": (),
        "dense": ("encoder", "neighbours"),
        "hybrid": ("encoder", "neighbours", "blend", "weight"),
    }[retriever]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            raise ConfigError(f"--{name} means nothing to --retriever {retriever}")
    return given


def _protocol(name: str, **overrides: Any) -> EvaluationProtocol:
    from dataclasses import replace

    from gloss.evaluation.protocol import protocol_named

    given = {key: value for key, value in overrides.items() if value is not None}
    return replace(protocol_named(name), **given)
