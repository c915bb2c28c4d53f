"""`gloss recommend`: what a bundle recommends, for one history, for a file of them, for users."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gloss.cli.options import Json, Ray, workers_of
from gloss.errors import ConfigError, InputError

if TYPE_CHECKING:
    from gloss.recommender.recommender import Recommendations
    from gloss.recommender.rules import Rules

__all__ = ["register"]

_KEY = "GLOSS_KEY"
"""The environment variable that holds a key: one in an argument could be read by others."""

_AT_A_TIME = 16

_FORMATS = (".csv", ".parquet", ".jsonl")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(recommend)


def recommend(
    bundle: Annotated[
        Path | None,
        typer.Option("-b", "--bundle", help="A bundle made by `gloss bundle` or `gloss fit`."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            help=f"A service of `gloss serve`, instead of a bundle; a key is read from {_KEY}.",
        ),
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option("--history", help="The id or title of a purchase, earliest first; repeat."),
    ] = None,
    histories: Annotated[
        Path | None,
        typer.Option(
            "--histories",
            help="Many histories at once: JSON Lines, a list of ids or titles a line.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "-d", "--data", help="A data set, whose users are answered by all they bought."
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", help="A user of the data set; repeat (default: all of them)."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    wish: Annotated[
        str | None, typer.Option("--wish", help="A sentence that says what is wanted.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", help='SQL on catalogue columns, such as "price < 20".'),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="An item that is not shown; repeat.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="An item that may be shown; repeat.")
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option("--at-most", help="COLUMN=N: items of one value in a list; repeat."),
    ] = None,
    boost: Annotated[
        list[str] | None,
        typer.Option("--boost", help='"EXPRESSION=FACTOR", such as "brand = \'Acme\'=2"; repeat.'),
    ] = None,
    one_variant: Annotated[
        bool, typer.Option("--one-variant", help="One item of a title, or of a product's group.")
    ] = False,
    diversity: Annotated[
        float, typer.Option("--diversity", min=0, max=1, help="How unlike the items of a list are.")
    ] = 0.0,
    exclude_seen: Annotated[
        bool | None,
        typer.Option(
            "--exclude-seen/--keep-seen",
            help="Leave out what was bought, or keep it (default: as the bundle says).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Write a table: a name that ends in .csv, .parquet or .jsonl."
        ),
    ] = None,
    ray: Ray = None,
    json: Json = False,
) -> None:
    """What somebody will want next, and the purchase or the written title that led there.

    Example: gloss recommend -b demo-bundle --history "Title A" --history "Title B" -k 5
    """
    from gloss.cli import output

    if (bundle is None) == (server is None):
        raise ConfigError("give a bundle (-b) or a service (--server URL)")
    if server is not None and ray is not None:
        raise ConfigError("--ray lets a cluster open the bundle: give -b, not --server")
    sources = sum(each is not None for each in (history, histories, data))
    if sources > 1 or not (sources or wish):
        raise ConfigError(
            "give one history (--history ID_OR_TITLE …), many (--histories FILE), the users of a "
            "data set (--data), or a wish (--wish)"
        )
    if out is not None and out.suffix not in _FORMATS:
        raise ConfigError(f"{out} ends in none of {', '.join(_FORMATS)}")
    users, purchases = _asked(history, histories, data, user)
    rules = _rules(where, exclude, only, at_most, boost, one_variant, diversity, exclude_seen)
    if bundle is not None:
        # Imported after the histories were read, whose faults are then said at once.
        from gloss.recommender.many import recommend_many

        with workers_of(ray) as workers:
            answers = recommend_many(bundle, purchases, k, rules=rules, wish=wish, workers=workers)
    else:
        answers = _from_server(str(server), purchases, k, rules, wish)
    if out is not None:
        _write(out, users, answers)
        output.print_line(f"{out}: {len(users):,} lists")
    elif json:
        documents = [asdict(answer) for answer in answers]
        output.print_json(documents if histories or data else documents[0])
    else:
        for name, answer in zip(users, answers, strict=True):
            if len(users) > 1:
                output.print_line(name, style="italic")
            output.print_recommendations(answer)


def _from_server(
    server: str, purchases: Sequence[Sequence[str]], k: int, rules: Rules, wish: str | None
) -> list[Recommendations]:
    """Everybody's list by a service, some at a time: it decodes together what waits together."""
    from concurrent.futures import ThreadPoolExecutor

    from gloss.serving.client import Client

    with Client(server, key=os.environ.get(_KEY)) as client, ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(
            pool.map(lambda each: client.recommend(each, k=k, rules=rules, wish=wish), purchases)
        )


def _asked(
    history: list[str] | None, histories: Path | None, data: Path | None, users: list[str] | None
) -> tuple[list[str], list[Sequence[str]]]:
    """The names of those who are asked for, and what each has bought."""
    if data is not None:
        return _users_of(data, users)
    if users:
        raise ConfigError("--user names a user of a data set: say which (--data)")
    if histories is None:
        from gloss.data.readers.lines import repair_text

        return ["history 1"], [[*map(repair_text, history or ())]]
    read = _read(histories)
    return [f"history {number}" for number in range(1, len(read) + 1)], [*read]


def _users_of(data: Path, users: list[str] | None) -> tuple[list[str], list[Sequence[str]]]:
    from gloss.data.dataset import Dataset
    from gloss.errors import did_you_mean

    known = {history.user: history.items for history in Dataset.load(data).histories()}
    for user in users or ():
        if user not in known:
            raise InputError(f"{data} has no user {user!r} ({did_you_mean(user, known)})")
    wanted = [*(users or known)]
    return wanted, [known[user] for user in wanted]


def _rules(
    where: str | None,
    exclude: list[str] | None,
    only: list[str] | None,
    at_most: list[str] | None,
    boost: list[str] | None,
    one_variant: bool,
    diversity: float,
    exclude_seen: bool | None,
) -> Rules:
    from gloss.data.catalogue import ItemId
    from gloss.recommender.rules import Rules

    return Rules(
        exclude=frozenset(map(ItemId, exclude or ())),
        only=None if only is None else frozenset(map(ItemId, only)),
        where=where,
        exclude_seen=exclude_seen,
        at_most={name: int(most) for name, most in _pairs(at_most, "--at-most COLUMN=N")},
        one_variant=one_variant,
        boosts={text: float(factor) for text, factor in _pairs(boost, "--boost EXPRESSION=FACTOR")},
        diversity=diversity,
    )


def _pairs(texts: list[str] | None, form: str) -> list[tuple[str, float]]:
    pairs = []
    for text in texts or ():
        name, _, number = text.rpartition("=")
        try:
            pairs.append((name.strip(), float(number)))
        except ValueError:
            raise ConfigError(f"{text!r} is not {form}") from None
        if not name.strip():
            raise ConfigError(f"{text!r} is not {form}")
    return pairs


def _write(out: Path, users: Sequence[str], answers: Sequence[Recommendations]) -> None:
    """A row an item: user, rank, item, title, score, reason, why, way; written at once or not."""
    from io import BytesIO

    import polars as pl

    from gloss.artifacts import write_atomic

    rows = [
        {
            "user": user,
            "rank": rank,
            "item": item.item,
            "title": item.title,
            "score": item.score,
            "reason": item.reason,
            "why": item.why,
            "way": answer.way,
        }
        for user, answer in zip(users, answers, strict=True)
        for rank, item in enumerate(answer.items, 1)
    ]
    content = BytesIO()
    if out.suffix == ".jsonl":
        content.write("".join(dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    else:
        frame = pl.DataFrame(rows, infer_schema_length=None)
        frame.write_csv(content) if out.suffix == ".csv" else frame.write_parquet(content)
    write_atomic(out, content.getvalue())


def _read(histories: Path) -> list[list[str]]:
    from gloss.data.readers.lines import input_errors

    with input_errors(histories):
        lines = histories.read_bytes().split(b"\n")
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{histories} is empty")
    return [_purchases(line, f"{histories}:{number}") for number, line in numbered]


def _purchases(line: bytes, where: str) -> list[str]:
    from gloss.data.readers.ids import canonical_id
    from gloss.data.readers.lines import repair_text

    try:
        found: Any = loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if not (isinstance(found, list) and all(type(each) in (str, int) for each in found)):
        raise InputError(f"{where} is not a list of ids or titles")
    return [canonical_id(each) if isinstance(each, int) else repair_text(each) for each in found]
