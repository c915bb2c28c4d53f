"""Options that several commands share, so that they read and mean the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gloss import choices
from gloss.errors import ConfigError
from gloss.retrieval.settings import DenseSettings

if TYPE_CHECKING:
    from pydantic import BaseModel

    from gloss.evaluation.protocol import EvaluationProtocol
    from gloss.shards import Workers

__all__ = [
    "BaseFolder",
    "Config",
    "Data",
    "Encoder",
    "ExcludeSeen",
    "Force",
    "Json",
    "Length",
    "LimitUsers",
    "Out",
    "Overrides",
    "ProtocolName",
    "Ray",
    "RetrieverOf",
    "SplitOf",
    "SplitRuleName",
    "chosen_protocol",
    "given",
    "setting",
    "with_ray_address",
    "workers_of",
]

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="An experiment, as in configs/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SECTION.KEY=VALUE]...", help="Settings to change; see docs/configuration.md."
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")]
Data = Annotated[Path, typer.Option("-d", "--data", help="A data set made by `gloss prepare`.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
LimitUsers = Annotated[
    int | None,
    typer.Option(
        "--limit-users", min=1, help="Only N users, drawn at random: the same N each time."
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Begin even if memory or disk cannot hold what is trained, or it takes over a day.",
    ),
]
BaseFolder = Annotated[
    Path | None,
    typer.Option("--base", help="The folder of an adapter's base model (default: found by name)."),
]
ProtocolName = Annotated[
    choices.ProtocolName,
    typer.Option("--protocol", help="fair: what we recommend; paper: what the paper did."),
]
SplitRuleName = Annotated[
    choices.SplitRule, typer.Option("--split", help="Who trains on what; see docs/protocol.md.")
]
SplitOf = Annotated[
    choices.SplitName, typer.Option("--split", help="The users whose next item is predicted.")
]
Length = Annotated[int | None, typer.Option("-k", "--length", min=1, help="Items in a list.")]
ExcludeSeen = Annotated[
    bool | None,
    typer.Option("--exclude-seen/--keep-seen", help="Remove items bought already, or keep them."),
]

_RAY, _RAY_HERE = "--ray", "auto"
_RAY_ADDRESS = re.compile(r"auto|local|ray://\S+|[^\s=/]+:\d+")

Ray = Annotated[
    str | None,
    typer.Option(
        _RAY,
        metavar="[ADDRESS]",
        help="Let a Ray cluster do the work: HOST:PORT of its head; without one, the cluster of "
        "this machine, which is started if there is none. See docs/howto/ray.md.",
    ),
]


def with_ray_address(arguments: Sequence[str]) -> list[str]:
    """The arguments, with an address behind every `--ray` that has none: the parser knows no
    option whose value may be left out.

    >>> with_ray_address(["run", "toys.yaml", "--ray", "seed=3"])
    ['run', 'toys.yaml', '--ray=auto', 'seed=3']
    >>> with_ray_address(["generate", "--ray", "10.0.0.1:6379", "--json"])
    ['generate', '--ray=10.0.0.1:6379', '--json']
    """
    left, read = [*arguments], []
    while left:
        argument = left.pop(0)
        if argument == _RAY:
            has_address = bool(left) and _RAY_ADDRESS.fullmatch(left[0])
            argument = f"{_RAY}={left.pop(0) if has_address else _RAY_HERE}"
        read.append(argument)
    return read


@contextmanager
def workers_of(ray: str | None) -> Iterator[Workers]:
    """Who does the work of a command with `--ray`, until the block ends."""
    if ray is None:
        from gloss.shards import HERE

        yield HERE
        return
    from gloss.scale.cluster import connected

    with connected(ray) as workers:
        yield workers


def _known_retriever(name: str | None) -> str | None:
    """The name, if there is such a retriever; a wrong call if not."""
    from gloss.retrieval.specs import retriever_named

    try:
        return None if name is None else retriever_named(name).name
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


Encoder = Annotated[
    str | None,
    typer.Option("--encoder", help=DenseSettings.model_fields["encoder"].description),
]
RetrieverOf = Annotated[
    str,
    typer.Option(
        "--retriever",
        metavar="NAME",
        callback=_known_retriever,
        help="What finds items: bm25 (by words), dense (by meaning, with a sentence encoder), "
        "hybrid (both), milvus (by meaning, with the vectors in a Milvus store).",
    ),
]


def setting(
    section: type[BaseModel],
    name: str,
    *flags: str,
    default: object = None,
    panel: str | None = None,
) -> Any:
    """The option of a setting: its description and its bounds.

    default: what the help names, for an option that is None where it is not typed. panel: the
    heading that the help lists it under.
    """
    field = section.model_fields[name]
    bounds = {
        option: getattr(rule, attribute)
        for rule in field.metadata
        for option, attribute in (("min", "ge"), ("max", "le"))
        if hasattr(rule, attribute)
    }
    text = field.description or ""
    if default is not None:
        text = f"{text.rstrip('.')} (default: {default})."
    return typer.Option(*flags, help=text, rich_help_panel=panel, **bounds)


def given(what: str, known: Collection[str], **options: Any) -> dict[str, Any]:
    """The options that were typed; ConfigError for one that `what` does not have."""
    typed = {name: value for name, value in options.items() if value is not None}
    for name in typed:
        if name not in known:
            raise ConfigError(f"--{name.replace('_', '-')} means nothing to {what}")
    return typed


def chosen_protocol(name: str, **overrides: Any) -> EvaluationProtocol:
    """The protocol of that name, with what was typed instead."""
    from dataclasses import replace

    from gloss.evaluation.protocol import protocol_named

    return replace(protocol_named(name), **{k: v for k, v in overrides.items() if v is not None})
