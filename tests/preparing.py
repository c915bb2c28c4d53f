"""What tests of reading share: a small log in any shape, and what a data set made of it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gloss.artifacts import Recipe, open_artifact
from gloss.cli.app import app
from gloss.config import TableData
from gloss.data import dataset as datasets
from gloss.data.dataset import Dataset, PreparedData
from gloss.experiment import stages
from gloss.retrieval.index import index_recipe, write_index
from gloss.retrieval.settings import IndexSettings

TITLES = (
    "Red kite",
    "Blue kite",
    "Wooden train set",
    "Paper lantern, round",
    "Tin whistle in D",
    "Cotton apron",
    "Brass compass",
    "Glass marbles, 50",
)

Bought = dict[str, tuple[str, ...]]


def purchases(users: int = 4, each: int = 4, start: int = 1_500_000_000) -> list[tuple[Any, ...]]:
    """User, item and time in seconds: user n buys items n, n + 1, … one minute apart."""
    return [
        (f"u{user}", f"i{(user + step) % len(TITLES)}", start + 1000 * user + 60 * step)
        for user in range(users)
        for step in range(each)
    ]


def histories(users: int = 4, each: int = 4) -> Bought:
    """What everybody has bought in the log of `purchases`."""
    return {
        f"u{user}": tuple(f"i{(user + step) % len(TITLES)}" for step in range(each))
        for user in range(users)
    }


def csv_log(rows: list[tuple[Any, ...]], delimiter: str = ",") -> str:
    """Rows below a head."""
    lines = [("user", "item", "time"), *rows]
    return "".join(delimiter.join(map(str, line)) + "\n" for line in lines)


def csv_items(delimiter: str = ",") -> str:
    """The catalogue, titles in quotes."""
    rows = [f'i{n}{delimiter}"{title}"' for n, title in enumerate(TITLES)]
    return "\n".join([f"item{delimiter}title", *rows]) + "\n"


def write(path: Path, content: str | bytes) -> Path:
    """The file, as bytes are bytes and lines end as they are written."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def prepared(out: Path, interactions: Any, items: Any = (), **settings: Any) -> Dataset:
    """The data set that is made of tables."""
    data = TableData(source="table", interactions=interactions, items=items, **settings)
    return Dataset.load(stages.prepare(data, out).path)


def bought(dataset: Dataset) -> Bought:
    """Everybody's history."""
    return {history.user: history.items for history in dataset.histories()}


def titles(dataset: Dataset) -> list[str]:
    """The titles of the catalogue, in its order."""
    return [item.title for item in dataset.catalogue("fair")]


def users_measured(data: Path, folder: Path) -> int:
    """How many users the popularity baseline of a data set is measured on, by the commands."""
    popular, figures = folder / "popular", folder / "figures"
    app(["baseline", "popularity", "-d", str(data), "-o", str(popular)], standalone_mode=False)
    measure = ["evaluate", "-r", str(popular), "-d", str(data), "-o", str(figures)]
    app(measure, standalone_mode=False)
    return int(open_artifact(figures, "evaluation").summary["users"])


def save_dataset(data: PreparedData, path: Path, *, name: str | None = None) -> None:
    """Prepared data as a data set of that name, or the folder's."""
    with Recipe(datasets.KIND, {"name": name} if name else {}, {}).draft(path) as draft:
        datasets.write_dataset(draft, data)


def save_index(dataset: Dataset, path: Path, settings: IndexSettings) -> None:
    """An index of a data set's catalogue, made anew."""
    with index_recipe(dataset.fingerprint, settings).draft(path) as draft:
        write_index(
            draft,
            dataset.catalogue(settings.title_style),
            settings,
            times_bought=dataset.times_bought(),
        )
