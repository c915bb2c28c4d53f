"""Where purchases come from: a section of settings, the files that it leads to, and their log.

The one place that knows all readers.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gloss.artifacts import fingerprint_of_file
from gloss.config import AmazonData, PresetData, ShopData, TableData
from gloss.data.purchases import PurchaseLog, Workspace
from gloss.data.readers.amazon import find_files, read_amazon
from gloss.data.readers.columnar import is_saved_dataset, parts_of_dataset
from gloss.data.readers.databases import is_database, query_result, without_password
from gloss.data.readers.downloads import MIRRORS, fetch_amazon, fetch_file
from gloss.data.readers.hub import hub_table
from gloss.data.readers.opening import LocalFile
from gloss.data.readers.presets import amazon_tables, gathered
from gloss.data.readers.shop import make_shop
from gloss.data.readers.tables import read_tables
from gloss.errors import InputError
from gloss.progress import Progress

__all__ = ["DataSettings", "LocalSource", "located", "located_additions", "name_of"]

DataSettings = ShopData | AmazonData | TableData | PresetData

_HUB = "hf://"
_HIDDEN = ("_", ".")
_HOW = "interactions", "items"


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A source whose files lie on this machine: inputs are their fingerprints, by what they hold;
    the workspace holds what had to be fetched, and what is made while it is read."""

    settings: DataSettings
    tables: TableData | None
    interactions: tuple[LocalFile, ...]
    items: tuple[LocalFile, ...]
    inputs: dict[str, str]
    workspace: Workspace

    def read(self) -> PurchaseLog:
        """Read the files, or make the shop; see the readers for what they raise."""
        if self.tables is not None:
            return read_tables(self.tables, self.interactions, self.items, workspace=self.workspace)
        if isinstance(self.settings, ShopData):
            shop = self.settings
            return make_shop(users=shop.users, seed=shop.seed, repeats=shop.repeats)
        assert isinstance(self.settings, AmazonData)
        assert self.settings.folder is not None
        return read_amazon(
            self.settings.category,
            self.settings.folder,
            max_bad_lines=self.settings.max_bad_lines,
        )


def located(settings: DataSettings, *, progress: Progress) -> LocalSource:
    """The files of a source, fetched if need be, with their fingerprints.

    Raises InputError when a source leads to no file.
    """
    workspace = Workspace()
    match settings:
        case ShopData():
            return LocalSource(settings, None, (), (), {}, workspace)
        case AmazonData(edition="2014"):
            settings = _fetched(settings, progress)
            assert settings.folder is not None
            files = find_files(settings.category, settings.folder)
            pairs = zip(_HOW, files, strict=True)
            inputs = {name: fingerprint_of_file(file) for name, file in pairs}
            return LocalSource(settings, None, (), (), inputs, workspace)
        case AmazonData():
            tables = amazon_tables(settings)
            return _of_tables(settings, tables, workspace, progress)
        case PresetData():
            tables, originals = gathered(settings, workspace.path)
            return _of_tables(settings, tables, workspace, progress, originals)
        case TableData():
            return _of_tables(settings, settings, workspace, progress)


def located_additions(settings: TableData, *, progress: Progress) -> LocalSource:
    """The same for what is added to a data set: purchases, items or both, and nothing is looked for
    where nothing is named."""
    workspace = Workspace()
    items_sql = settings.items_sql or settings.sql
    interactions = _files(settings.interactions, settings.sql, workspace.path / "log", progress)
    items = _files(settings.items, items_sql, workspace.path / "items", progress)
    inputs = _fingerprints([*_named("interactions", interactions), *_named("items", items)])
    return LocalSource(settings, settings, interactions, items, inputs, workspace)


def name_of(settings: DataSettings) -> str:
    """What the data are called in reports."""
    match settings:
        case ShopData():
            return "synthetic shop"
        case AmazonData():
            return settings.category
        case PresetData():
            return settings.preset
        case TableData():
            first = without_password(settings.interactions[0])
            return Path(first.rstrip("/")).name.split(".")[0] if first != "-" else "standard input"


def _fetched(settings: AmazonData, progress: Progress) -> AmazonData:
    if settings.folder is not None:
        return settings
    folder = fetch_amazon(
        settings.category,
        _cache() / "amazon2014",
        mirrors=settings.mirrors or MIRRORS,
        progress=lambda name, done, total: progress(done, total, f"{name}, bytes"),
    )
    return settings.model_copy(update={"folder": folder})


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gloss"


def _of_tables(
    settings: DataSettings,
    tables: TableData,
    workspace: Workspace,
    progress: Progress,
    originals: Sequence[tuple[str, Path]] | None = None,
) -> LocalSource:
    items_sql = tables.items_sql or (None if tables.items else tables.sql)
    interactions = _files(tables.interactions, tables.sql, workspace.path / "log", progress)
    if tables.items or items_sql != tables.sql:
        sources = tables.items or tables.interactions
        items = _files(sources, items_sql, workspace.path / "items", progress)
    else:
        items = interactions
    inputs = _fingerprints(
        originals or [*_named("interactions", interactions), *_named("items", items)]
    )
    return LocalSource(settings, tables, interactions, items, inputs, workspace)


def _named(what: str, files: Sequence[LocalFile]) -> list[tuple[str, Path]]:
    """A name for each file: what it holds, and which part of it; no path, for it may move."""
    if len(files) == 1:
        return [(what, files[0].path)]
    return [(f"{what}/{file.path.name}/{number}", file.path) for number, file in enumerate(files)]


def _fingerprints(files: Sequence[tuple[str, Path]]) -> dict[str, str]:
    known = {path: fingerprint_of_file(path) for path in {path for _, path in files}}
    return {name: known[path] for name, path in files}


def _files(
    sources: Sequence[str], sql: str | None, folder: Path, progress: Progress
) -> tuple[LocalFile, ...]:
    """The files of several sources, in the order in which they were named."""
    files: list[LocalFile] = []
    for number, source in enumerate(sources):
        files += _files_of(source, sql, folder / str(number), progress)
    return tuple(files)


def _files_of(
    source: str, sql: str | None, folder: Path, progress: Progress
) -> Iterator[LocalFile]:
    shown = Path(without_password(source))
    if source == "-":
        yield LocalFile(_from_standard_input(folder), Path("standard input"))
    elif source.startswith(("https://", "http://")):
        yield LocalFile(fetch_file(source, _cache() / "downloads", progress=progress), shown)
    elif source.startswith(_HUB):
        for part in hub_table(source.removeprefix(_HUB), folder):
            yield LocalFile(part, shown)
    elif is_database(source):
        for part in query_result(source, sql, folder):
            yield LocalFile(part, shown)
    elif Path(source).is_dir():
        yield from _files_in(Path(source))
    elif not Path(source).exists() and glob.has_magic(source):
        yield from _matching(source)
    elif not Path(source).exists():
        raise InputError(f"{source} does not exist")
    else:
        yield LocalFile(Path(source), shown)


def _from_standard_input(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "standard-input"
    with target.open("wb") as out:
        shutil.copyfileobj(sys.stdin.buffer, out)
    return target


def _files_in(folder: Path) -> Iterator[LocalFile]:
    """The data files of a folder, as Spark and others write them; empty parts hold nothing."""
    if is_saved_dataset(folder):
        parts = parts_of_dataset(folder)
    else:
        parts = [path for path in sorted(folder.rglob("*")) if _holds_data(path, folder)]
    if not parts:
        raise InputError(f"{folder} is a folder without data files")
    for part in parts:
        yield LocalFile(part, part, _constants(part.relative_to(folder)))


def _holds_data(path: Path, folder: Path) -> bool:
    names = path.relative_to(folder).parts
    return (
        path.is_file()
        and path.stat().st_size > 0
        and not any(name.startswith(_HIDDEN) for name in names)
    )


def _constants(path: Path) -> tuple[tuple[str, str], ...]:
    pairs = (name.partition("=") for name in path.parts[:-1])
    return tuple((key, value) for key, sign, value in pairs if sign)


def _matching(pattern: str) -> Iterator[LocalFile]:
    paths = [Path(name) for name in sorted(glob.iglob(pattern, recursive=True))]  # noqa: PTH207
    if not paths:
        raise InputError(f"{pattern} matches no file")
    for path in paths:
        if path.is_dir():
            yield from _files_in(path)
        else:
            yield LocalFile(path, path, _constants(path))
