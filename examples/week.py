"""A week of a shop: what `gloss update` is worth, against a fit on all purchases every day.

    python examples/week.py                                       # the built-in shop: a minute
    python examples/week.py --data data/toys --rankers transitions word-overlap title-similarity
    python examples/week.py --data data/toys --rankers sasrec --retrain

On Monday a recommender is fitted. On Tuesday the newest items come, and the newest purchases: it is
updated, and fitted anew to compare. On Wednesday some items leave: the same. Every user's last
purchase is held back from all of it, and is what lists are measured on. A table says what each way
took and what its lists are worth; below it stands what differs between an updated recommender and a
fitted one. With --retrain each update is also made with networks that go on from their weights.

--data is a data set made by `gloss prepare` with `--split none`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from gloss import Recommender
from gloss.artifacts import Artifact
from gloss.data.dataset import Dataset
from gloss.data.purchases import PurchaseLog
from gloss.data.readers.shop import make_shop
from gloss.experiment.bundling import fit
from gloss.experiment.loading import with_overrides
from gloss.experiment.updating import update

RANKERS = ("transitions", "second-order-transitions", "word-overlap")
CUTOFF = 5
OF_TRAINING = ("rankers/sasrec/", "rankers/dual-encoder/", "trained/", "model/")
"""Parts of a bundle that a new training makes anew."""

Lists = dict[str, list[str]]
"""Items by user."""


@dataclass(frozen=True, slots=True)
class Week:
    """What happens. purchases: user, item, time of all days, without what is held back; items: item
    and title, the new ones last; new: how many these are; tuesday: which purchases come then;
    gone: items that leave on Wednesday; held_back: user and item, the last purchases that lists are
    measured on: of users with three or more, some of them drawn."""

    purchases: pl.DataFrame
    items: pl.DataFrame
    new: int
    tuesday: pl.Series
    gone: pl.Series
    held_back: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. recall: at 5, of all and of those who bought a new item next; equal: the
    share of lists that are those of the fit of that day."""

    name: str
    seconds: float
    recall: float
    recall_of_new: float
    equal: float | None


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Live through the week, and print the table."""
    args = call_parser().parse_args(arguments)
    log = Dataset.load(args.data).log() if args.data else make_shop(users=args.users)
    week = a_week(
        log,
        new=args.new_items,
        purchases=args.purchases,
        gone=args.removed,
        measured=args.measured,
    )
    with TemporaryDirectory() as folder:
        rows, differences = lived(
            week,
            args.folder or Path(folder),
            args.rankers,
            settings=args.set,
            retrain=args.retrain,
        )
    print_table(rows)
    for line in differences:
        print(line)
    return rows


def call_parser() -> argparse.ArgumentParser:
    """How the script is called."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None, help="a data set (default: a shop)")
    parser.add_argument("--users", type=int, default=3000, help="of the built-in shop")
    parser.add_argument("--new-items", type=int, default=200)
    parser.add_argument("--purchases", type=int, default=5000, help="of Tuesday")
    parser.add_argument("--removed", type=int, default=50, help="items that leave")
    parser.add_argument("--measured", type=int, default=4000, help="users, drawn, at most")
    parser.add_argument("--rankers", nargs="+", default=RANKERS)
    parser.add_argument("--set", nargs="+", default=(), help="settings: section.key=value")
    parser.add_argument("--retrain", action="store_true", help="train networks on, too")
    parser.add_argument("--folder", type=Path, default=None, help="where all is kept")
    return parser


def a_week(log: PurchaseLog, *, new: int, purchases: int, gone: int, measured: int) -> Week:
    """The log as a week: new items are those that were bought last for the first time, and Tuesday
    has all their purchases and the newest others. Those that leave are drawn from the others."""
    everything = log.interactions.lazy().select("user", "item", "time").collect()
    ordered = everything.sort("user", "time", maintain_order=True)
    place = pl.int_range(pl.len()).over("user")
    is_last = (place == pl.len().over("user") - 1) & (pl.len().over("user") >= 3)
    marked = ordered.with_columns(is_last=is_last)
    bought = marked.filter(~pl.col("is_last")).drop("is_last").sort("time", maintain_order=True)
    first = bought.group_by("item", maintain_order=True).agg(pl.col("time").min())
    newest = first.sort("time", maintain_order=True)["item"].tail(new)
    is_new = pl.col("item").is_in(newest.implode())
    titled = log.items.select("item", "title").filter(pl.col("title").is_not_null())
    items = pl.concat([titled.filter(~is_new), titled.filter(is_new)])
    others = bought.select(~is_new).to_series()
    of_monday = min(int(others.sum()), bought.height - purchases)
    late = ~others | (others.cum_sum() > of_monday)
    rng = np.random.default_rng(0)
    leave = rng.permutation(items.height - new)[:gone]
    held_back = marked.filter("is_last").select("user", "item")
    asked = np.sort(rng.permutation(held_back.height)[:measured])
    return Week(
        bought,
        items,
        new,
        late,
        items["item"].gather(leave),
        held_back[asked],
    )


def lived(
    week: Week,
    folder: Path,
    rankers: Sequence[str],
    *,
    settings: Sequence[str] = (),
    retrain: bool = False,
) -> tuple[list[Row], list[str]]:
    """The table, and what differs between updates and fits."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = partial(fit_on, rankers=rankers, settings=settings)
    files = written(week, folder)
    rows, differences = [], []
    ours, seconds = timed(partial(fitted, folder / "monday", files, ["monday"]))
    rows.append(measured("Monday's fit, later", week, lists_of(week, ours), seconds=seconds))
    for day, days, news in (
        (
            "Tuesday",
            ["monday", "tuesday"],
            {"interactions": "tuesday log", "items": "tuesday items"},
        ),
        ("Wednesday", ["left"], {"removed": "removed"}),
    ):
        whole, seconds = timed(partial(fitted, folder / f"fit-{day}", files, days))
        expected = lists_of(week, whole)
        rows.append(measured(f"{day}'s fit", week, expected, seconds=seconds))
        given = {what: files[name] for what, name in news.items()}
        yesterday = ours
        ours, seconds = timed(partial(updated, yesterday, folder / day.lower(), **given))
        lists = lists_of(week, ours)
        rows.append(measured(f"{day}'s update", week, lists, seconds=seconds, expected=expected))
        differences.append(f"{day}: {difference(ours, whole)}")
        if retrain:
            out = folder / f"{day.lower()}-retrained"
            retrained, seconds = timed(partial(updated, yesterday, out, **given, retrain=True))
            lists = lists_of(week, retrained)
            name = f"{day}'s update, retrained"
            rows.append(measured(name, week, lists, seconds=seconds, expected=expected))
    return rows, differences


def written(week: Week, folder: Path) -> dict[str, Path]:
    """The files of the week, by what they hold."""
    old, new = week.items.head(-week.new), week.items.tail(week.new)
    frames = {
        "monday log": week.purchases.filter(~week.tuesday),
        "tuesday log": week.purchases.filter(week.tuesday),
        "left log": week.purchases,
        "monday items": old,
        "tuesday items": new,
        "left items": week.items.filter(~pl.col("item").is_in(week.gone.implode())),
    }
    files = {name: folder / f"{name.replace(' ', '-')}.csv" for name in frames}
    for name, frame in frames.items():
        frame.write_csv(files[name])
    files["removed"] = folder / "removed.txt"
    files["removed"].write_text("\n".join(week.gone))
    return files


def fit_on(
    out: Path,
    files: dict[str, Path],
    days: Sequence[str],
    *,
    rankers: Sequence[str],
    settings: Sequence[str] = (),
) -> Artifact:
    """The bundle of a fit on the logs of these days."""
    own: dict[str, Any] = {
        "name": "week",
        "data": {
            "source": "table",
            "interactions": [str(files[f"{day} log"]) for day in days],
            "items": [str(files[f"{day} items"]) for day in days],
            "unknown_share": 1.0,  # what leaves the catalogue was bought all the same
        },
        "rankers": {"use": list(rankers)},
    }
    parts = out.with_name(f"{out.name}-parts")
    return fit(with_overrides(own, settings), out, parts=parts, model=False)


def updated(
    bundle: Artifact,
    out: Path,
    *,
    interactions: Path | None = None,
    items: Path | None = None,
    removed: Path | None = None,
    retrain: bool = False,
) -> Artifact:
    """The bundle with what is new."""
    return update(
        bundle.path,
        out,
        interactions=[str(interactions)] if interactions else (),
        items=[str(items)] if items else (),
        removed=removed,
        retrain=retrain,
    )


def timed(make: Callable[[], Artifact]) -> tuple[Artifact, float]:
    """What is made, and the seconds that it took."""
    started = time.perf_counter()
    made = make()
    return made, time.perf_counter() - started


def lists_of(week: Week, bundle: Artifact) -> Lists:
    """What a bundle answers those of whom a purchase is held back, by all that they bought."""
    ordered = week.purchases.sort("user", "time", maintain_order=True)
    histories = ordered.group_by("user", maintain_order=True).agg("item")
    asked = histories.filter(pl.col("user").is_in(week.held_back["user"].implode()))
    answers = Recommender.open(bundle.path).recommend(asked["item"].to_list(), k=CUTOFF)
    return {
        user: [each.item for each in answer.items]
        for user, answer in zip(asked["user"], answers, strict=True)
    }


def measured(
    name: str, week: Week, lists: Lists, *, seconds: float, expected: Lists | None = None
) -> Row:
    """A line of the table. expected: lists that these are compared with."""
    new = {*week.items["item"].tail(week.new)}
    hits = [(item in lists[user], item in new) for user, item in week.held_back.iter_rows()]
    of_new = [hit for hit, is_new in hits if is_new] or [False]
    equal = None
    if expected is not None:
        equal = float(np.mean([lists[user] == expected[user] for user in lists]))
    recall = float(np.mean([hit for hit, _ in hits]))
    return Row(name, seconds, recall, float(np.mean(of_new)), equal)


def difference(ours: Artifact, theirs: Artifact) -> str:
    """What of two bundles is not equal byte by byte, but for what a training makes."""
    names = {name for name in {*ours.files, *theirs.files} if not name.startswith(OF_TRAINING)}
    differing = sorted(name for name in names if ours.files.get(name) != theirs.files.get(name))
    said = ", ".join(_how_much(ours.path / name, theirs.path / name) for name in differing)
    return f"{len(names) - len(differing)} of {len(names)} files are equal, byte by byte" + (
        f"; not {said}" if said else ""
    )


def _how_much(ours: Path, theirs: Path) -> str:
    if ours.suffix != ".npy":
        return ours.name
    largest = np.abs(np.load(ours) - np.load(theirs)).max()
    return f"{ours.name} (by at most {largest:.0e})"


def print_table(rows: Sequence[Row]) -> None:
    """Markdown."""
    for line in table(rows):
        print(line)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table."""
    yield f"| | seconds | Recall@{CUTOFF} | of new items | lists as in the fit |"
    yield "|---|---:|---:|---:|---:|"
    for row in rows:
        equal = "" if row.equal is None else f"{row.equal:.1%}"
        recalls = f"{row.recall:.4f} | {row.recall_of_new:.4f}"
        yield f"| {row.name} | {row.seconds:.1f} | {recalls} | {equal} |"


if __name__ == "__main__":
    main()
