"""The stage `import ranking`: lists that another program has made, for the users of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gloss.artifacts import Artifact, Draft, Recipe, fingerprint_of_file
from gloss.data.dataset import Dataset, SplitName
from gloss.data.histories import Example
from gloss.data.readers.ids import IdRule
from gloss.errors import InputError
from gloss.evaluation.beyond import holds_purchases
from gloss.experiment.stages.warnings import log_warnings
from gloss.rankings import files as rankings
from gloss.rankings.imported import BY_NAME, ListColumns, ListedItems, read_lists
from gloss.rankings.records import ImportedRankingConfig
from gloss.rankings.table import RankingTable

__all__ = ["import_ranking"]

_EXAMPLES = 3
_UNKNOWN_SHARE = 0.05


def import_ranking(
    file: Path,
    dataset: Path,
    out: Path,
    *,
    name: str | None = None,
    split: SplitName = "test",
    columns: ListColumns = BY_NAME,
    delimiter: str | None = None,
) -> Artifact:
    """Somebody's own lists as the ranking at `out`, to be evaluated as any other.

    Users of the split whom the file lacks have an empty list, and count as such; users whom the
    split lacks are left out. Items that the catalogue lacks keep their places, where they can be no
    hit: leaving them out would make the list better than it was. All of them are counted.

    Raises InputError when the file knows no user or no item of the data set, and what `read_lists`
    raises.
    """
    data = Dataset.load(dataset)
    rule = IdRule.recorded(data.artifact.config)
    listed = read_lists(file, columns, delimiter=delimiter, rule=rule)
    examples = data.examples(split)
    lists = _lists(listed.entries, examples)
    config = ImportedRankingConfig(
        ranker=name or file.name.split(".")[0],
        split=split,
        length=int(lists.lengths.max(initial=0)),
        exclude_seen=not holds_purchases(lists, examples),
        columns=(columns.user, columns.item, columns.score, columns.rank),
    )

    def fill(draft: Draft) -> None:
        counts = _counts(listed, lists, data, examples, file)
        rankings.write_rankings(draft, lists, summary=counts)

    inputs = {"dataset": data.fingerprint, "file": fingerprint_of_file(file)}
    made = Recipe(rankings.KIND, config.to_json(), inputs).make(out, fill)
    log_warnings(made.summary.get("warnings", ()))
    return made


def _lists(entries: pl.DataFrame, examples: Sequence[Example]) -> RankingTable:
    """A list for each user of the split, in their order."""
    users = tuple(example.user for example in examples)
    order = pl.DataFrame({"user": users}, {"user": pl.String}).with_row_index("place")
    known = entries.join(order, on="user").sort("place", maintain_order=True)
    lengths = np.bincount(known["place"].to_numpy(), minlength=len(users)).astype(np.int64)
    columns = known.select(
        items="item",
        scores="score",
        queries=pl.lit(None, pl.String),
        because=pl.lit(None, pl.String),
    )
    return RankingTable(users, lengths, columns)


def _counts(
    listed: ListedItems,
    lists: RankingTable,
    data: Dataset,
    examples: Sequence[Example],
    file: Path,
) -> dict[str, Any]:
    """What was read and left out, with examples of both sides and warnings."""
    catalogue = data.catalogue("fair")
    items = [item.id for item in catalogue]
    unknown = lists.entries["items"].filter(~lists.entries["items"].is_in(items))
    asked = [example.user for example in examples]
    read = listed.entries["user"].unique(maintain_order=True)
    strangers = read.filter(~read.is_in(asked))
    if strangers.len() == read.len():
        raise InputError(f"{file} has no user of the split: {_both(strangers, asked)}")
    if unknown.len() == lists.entries.height:
        raise InputError(f"{file} has no item of the catalogue: {_both(unknown, items)}")
    entries = lists.entries.height
    warnings = [
        *_warned("users are not in the split", strangers, asked, of=read.len()),
        *_warned("entries are items that the catalogue lacks", unknown, items, of=entries),
    ]
    return {
        "read as": listed.described,
        "entries": entries,
        "users that are not in the split": strangers.len(),
        "entries of items that the catalogue lacks": unknown.len(),
        "repeated entries left out": listed.repeated,
        **({"warnings": warnings} if warnings else {}),
    }


def _warned(what: str, unknown: pl.Series, known: Sequence[str], *, of: int) -> Iterator[str]:
    """A warning where too many ids of the file are unknown. of: how many it has."""
    if unknown.len() > _UNKNOWN_SHARE * of:
        yield f"{unknown.len():,} of {of:,} {what}: {_both(unknown, known)}"


def _both(theirs: pl.Series, ours: Sequence[str]) -> str:
    some = ", ".join(map(repr, theirs.unique(maintain_order=True).head(_EXAMPLES).to_list()))
    known = ", ".join(map(repr, ours[:_EXAMPLES]))
    return f"the file has {some}; the data set has {known}"
