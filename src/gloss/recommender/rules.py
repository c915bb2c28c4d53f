"""Rules at the call: what may be shown, and what a list may look like.

What an item must be (`exclude`, `only`, `where`) becomes one row mask, before anything is ranked:
rankers and the language model then spend nothing on what may not be shown. What a list must be
(`at_most`, `one_variant`, `boosts`, `diversity`, `minimum_score`) is made of a longer list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import polars as pl

from gloss.arrays import Array, Bools
from gloss.data.catalogue import Catalogue, ItemId
from gloss.errors import ConfigError, InputError, did_you_mean, on_one_line
from gloss.rankings.ranking import RankedItem

__all__ = ["NO_RULES", "Arrangement", "Rules", "allowed_rows"]

GROUP = "group"
"""The column of the catalogue that variants of one product share."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a recommendation must keep.

    exclude: items that are not shown. only: the items that may be shown; None for all. where: an
    expression in SQL on the catalogue's columns, such as "category = 'toys' AND price < 20"; items
    for which it is not true are not shown. exclude_seen: whether what somebody has bought is left
    out; None as the bundle says. at_most: by column, how many items of one value a list may hold.
    one_variant: one item of a title, or of a `group` where the catalogue has that column. boosts:
    by expression, the factor of an item's score: 2 for twice as good. diversity: 0 to 1, how much
    an item loses that is like those above it (maximal marginal relevance, on title vectors).
    minimum_score: of the items that are shown; scores depend on the bundle.
    """

    exclude: frozenset[ItemId] = frozenset()
    only: frozenset[ItemId] | None = None
    where: str | None = None
    exclude_seen: bool | None = None
    at_most: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    one_variant: bool = False
    boosts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    diversity: float = 0.0
    minimum_score: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise ConfigError(f"diversity is between 0 and 1, not {self.diversity}")
        for column, most in self.at_most.items():
            if most < 1:
                raise ConfigError(f"a list holds at least 1 item of a {column}, not {most}")
        for expression, factor in self.boosts.items():
            if not (factor > 0 and np.isfinite(factor)):
                raise ConfigError(f"the boost of {expression!r} is above 0, not {factor}")

    @property
    def reorders(self) -> bool:
        """Whether a list has to be made of a longer one."""
        return bool(self.at_most or self.one_variant or self.boosts or self.diversity)


NO_RULES = Rules()


def allowed_rows(rules: Rules, catalogue: Catalogue, columns: pl.DataFrame) -> Bools | None:
    """bool (catalogue,): the rows that may be shown; None for all.

    columns: the catalogue's, in the order of the rows. Raises InputError for an expression that
    cannot be understood and for items of `only` that are not in the catalogue.
    """
    masks: list[Bools] = []
    if rules.where is not None:
        masks.append(_true_rows(rules.where, columns))
    if rules.only is not None:
        masks.append(_rows_of(rules.only, catalogue))
    if rules.exclude:
        masks.append(~_rows_of(rules.exclude, catalogue))
    if not masks:
        return None
    allowed: Bools = np.logical_and.reduce(masks)
    return allowed


class Arrangement:
    """Lists that keep the rules. What the rules say of the catalogue is found here, once.

    columns: the catalogue's, in the order of the rows. vectors: float32 (catalogue, width), of
    length 1, for `diversity`. Raises ConfigError for a column that the catalogue lacks, and for
    diversity without vectors; InputError for a boost that cannot be understood.
    """

    def __init__(
        self, rules: Rules, catalogue: Catalogue, columns: pl.DataFrame, vectors: Array | None
    ) -> None:
        if rules.diversity and vectors is None:
            raise ConfigError(
                "diversity compares vectors of titles, and the bundle holds none: make one whose "
                "rankers read them (title-similarity)"
            )
        self._rules = rules
        self._catalogue = catalogue
        self._vectors = vectors if rules.diversity else None
        self._factors = _factors(rules, columns)  # float64 (catalogue,)
        self._limits = _limits(rules, columns)

    def first(self, entries: Sequence[RankedItem], length: int) -> tuple[RankedItem, ...]:
        """The first `length` entries, best first, of a list that keeps the rules."""
        least = self._rules.minimum_score
        if least is not None:
            entries = [entry for entry in entries if entry.score >= least]
        if not self._rules.reorders:
            return tuple(entries[:length])
        rows = np.array([self._catalogue.row(entry.item) for entry in entries], dtype=np.int64)
        # Scores of fusion rules have no common scale, and may be negative; ranks have one.
        relevance = 1 / np.arange(1, len(rows) + 1) * self._factors[rows]  # (entries,)
        limits = [(column.gather(rows).to_list(), most) for column, most in self._limits]
        vectors = None if self._vectors is None else self._vectors[rows]  # (entries, width)
        chosen = _chosen(relevance, limits, vectors, self._rules.diversity, length)
        return tuple(entries[place] for place in chosen)


def _rows_of(items: frozenset[ItemId], catalogue: Catalogue) -> Bools:
    mask = np.zeros(len(catalogue), np.bool_)
    mask[[catalogue.row(item) for item in items if item in catalogue]] = True
    return mask


def _true_rows(expression: str, columns: pl.DataFrame) -> Bools:
    """bool (catalogue,): where an expression in SQL is true."""
    try:
        found = columns.lazy().select(pl.sql_expr(expression)).collect().to_series()
        if found.len() == 1 and columns.height != 1:
            found = found.new_from_index(0, columns.height)
        mask: Bools = found.cast(pl.Boolean, strict=True).fill_null(value=False).to_numpy()
    except pl.exceptions.ColumnNotFoundError as error:
        name = str(error).split('"')[1] if '"' in str(error) else on_one_line(str(error))
        raise InputError(
            f"{expression!r}: the catalogue has no column {name!r} "
            f"({did_you_mean(name, columns.columns)})"
        ) from None
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise InputError(f"{expression!r} is not understood: {on_one_line(str(error))}") from None
    return mask


def _factors(rules: Rules, columns: pl.DataFrame) -> Array:
    """float64 (catalogue,): what the boosts multiply each item's relevance with."""
    factors = np.ones(columns.height)
    for expression, factor in rules.boosts.items():
        factors[_true_rows(expression, columns)] *= factor
    return factors


def _limits(rules: Rules, columns: pl.DataFrame) -> list[tuple[pl.Series, int]]:
    """Columns (catalogue,), and how many items of one value a list may hold."""
    for name in rules.at_most:
        if name not in columns.columns:
            raise ConfigError(
                f"the catalogue has no column {name!r} ({did_you_mean(name, columns.columns)})"
            )
    limits = dict(rules.at_most)
    if rules.one_variant:
        limits |= {name: 1 for name in ("title", GROUP) if name in columns.columns}
    return [(columns[name], most) for name, most in limits.items()]


def _chosen(
    relevance: Array,
    limits: Sequence[tuple[list[object], int]],
    vectors: Array | None,
    diversity: float,
    length: int,
) -> list[int]:
    """Places in the list, one after the other: the best that no limit forbids.

    vectors: float32 (entries, width), for diversity above 0. With s the cosine to the most similar
    of those chosen before, or 0,

        value = (1 - diversity) · relevance - diversity · s
    """
    free = np.ones(len(relevance), np.bool_)
    nearest = np.zeros(len(relevance))
    taken = [Counter[object]() for _ in limits]
    chosen: list[int] = []
    while len(chosen) < length and free.any():
        value = (1 - diversity) * relevance - diversity * nearest
        place = int(np.where(free, value, -np.inf).argmax())
        free[place] = False
        if any(
            values[place] is not None and counts[values[place]] >= most
            for (values, most), counts in zip(limits, taken, strict=True)
        ):
            continue
        for (values, _), counts in zip(limits, taken, strict=True):
            counts[values[place]] += 1
        chosen.append(place)
        if vectors is not None:
            nearest = np.maximum(nearest, vectors @ vectors[place])
    return chosen
