"""The built-in shop: a synthetic hobby and home store, to try everything without a download.

Everything here is invented: brands, products and people. Figures measured on it say whether the
pipeline works; they say nothing about real people. The signal is real but not trivial:

- the catalogue is 8 departments x 3 brands x 4 product lines x editions, 432 titles such as
  "Okumi Loose Leaf Tea, Jasmine Green, 125 g"; of the four lines one is refilled (sizes), one is
  followed (part 1, 2, 3, 4), one is the main thing and one goes with it;
- sequel: the next part of a series, or the next size of a refill (similar titles);
- companion: a thing of another line and another brand of the department, as a bag follows a camera
  (titles share few words, so a search for the last title does not find it);
- habit: a thing of another department that the same people like (titles share none);
- brand: another thing of the same brand, by popularity;
- taste: a popular thing of the user's department of the moment, which drifts;
- noise: anything, half of it by popularity and half uniformly.

The first three start from the last purchase, or, less often, from an earlier one. Popularity falls
with rank as 1/rank (Zipf) over departments, lines and editions. Nobody buys an item twice.

With a share of repeats it is a grocer's: people buy twice as much, and that share of what they buy
repeats an earlier purchase. What was bought often is bought again more often, refills far more than
the rest, and an item when it is due: each has an interval of its own, in purchases.

Knows purchases and titles; knows nothing of models and splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from gloss.data.purchases import PurchaseLog
from gloss.errors import ConfigError

__all__ = ["make_shop"]

MIN_PURCHASES, MAX_PURCHASES = 5, 15
_GOES_ON = 0.75
_DRIFTS = 0.12
_ANCHORS = (0.72, 0.18, 0.10)
"""Probability that a purchase starts from the last, second-last or third-last one."""

Motive = Literal["sequel", "companion", "habit", "brand", "taste", "noise"]
_MOTIVES: tuple[tuple[Motive, float], ...] = (
    ("sequel", 0.28),
    ("companion", 0.22),
    ("habit", 0.16),
    ("brand", 0.10),
    ("taste", 0.12),
    ("noise", 0.12),
)
_MOTIVE_SHARES = tuple(share for _, share in _MOTIVES)
_LASTING = 0.15
"""How likely something that is no refill is bought again, where a refill would be."""
_INTERVALS = (2, 3, 4, 6, 8)
"""Purchases after which an item is due, in turn by the item's row."""
_NOT_DUE = 0.15
"""How likely an item is bought again at half its interval or before, or after twice as long."""
_MAX_DRAWS = 50
"""Draws until an item is taken that is neither lasting nor due."""

_FIRST_OF_TWO = 0.7
"""How often the first of an item's two companions, or of its two habits, is taken."""

REFILL, SERIES, MAIN, EXTRA = range(4)
_COMPANION_LINES = {
    REFILL: (MAIN, EXTRA),
    SERIES: (MAIN, REFILL),
    MAIN: (EXTRA, REFILL),
    EXTRA: (REFILL, SERIES),
}


@dataclass(frozen=True, slots=True)
class _Department:
    """Brands, and the four lines that each of them makes, with their editions."""

    brands: tuple[str, str, str]
    refill: str
    flavours: tuple[str, str]
    sizes: tuple[str, str, str]
    series: str
    parts: tuple[str, str, str, str]
    main: str
    mains: tuple[str, str, str, str]
    extra: str
    extras: tuple[str, str, str, str]


_DEPARTMENTS = (
    _Department(
        brands=("Ferrow", "Oddny & Pell", "Marlstone"),
        refill="Acrylic Paint",
        flavours=("Yellow Ochre", "Slate Blue"),
        sizes=("60 ml", "120 ml", "250 ml"),
        series="Castle Diorama Kit",
        parts=("Part 1: Gatehouse", "Part 2: Watchtower", "Part 3: Great Hall", "Part 4: Chapel"),
        main="Field Easel",
        mains=("Beech", "Walnut", "Folding Aluminium", "Tabletop"),
        extra="Sable Brush",
        extras=("No. 0 Liner", "No. 2 Round", "No. 6 Flat", "No. 10 Wash"),
    ),
    _Department(
        brands=("Halden", "Lumeq", "Brightwater"),
        refill="Black and White Film",
        flavours=("ISO 100", "ISO 400"),
        sizes=("Single Roll", "3 Rolls", "10 Rolls"),
        series="Darkroom Course",
        parts=("Book 1: Light", "Book 2: Exposure", "Book 3: Developing", "Book 4: Printing"),
        main="Rangefinder Camera",
        mains=("Silver", "Graphite", "Pocket Model", "Wide Angle"),
        extra="Waxed Canvas Shoulder Bag",
        extras=("Olive", "Sand", "Charcoal", "Navy"),
    ),
    _Department(
        brands=("Tarn Hill", "Okumi", "Juniper Row"),
        refill="Loose Leaf Tea",
        flavours=("Smoked Black", "Jasmine Green"),
        sizes=("50 g", "125 g", "250 g"),
        series="Tasting Journey Box",
        parts=("Chapter 1: Hills", "Chapter 2: Rivers", "Chapter 3: Islands", "Chapter 4: Coast"),
        main="Stoneware Teapot",
        mains=("Speckled White", "Celadon", "Iron Glaze", "For One"),
        extra="Airtight Caddy",
        extras=("Copper", "Enamel Red", "Cherry Bark", "Plain Tin"),
    ),
    _Department(
        brands=("Vesper", "Norrlys", "Candleworth"),
        refill="Filament Bulb",
        flavours=("Warm White", "Amber"),
        sizes=("1 Pack", "2 Pack", "6 Pack"),
        series="Paper Lantern Craft Set",
        parts=("Stage 1: Moon", "Stage 2: Fish", "Stage 3: Crane", "Stage 4: Dragon"),
        main="Reading Lamp",
        mains=("Brass", "Matt Black", "Clip-On", "Floor Standing"),
        extra="Linen Shade",
        extras=("Natural Drum", "Indigo Drum", "Pleated Cone", "Small Empire"),
    ),
    _Department(
        brands=("Greenlode", "Mossop", "Thistle & Rye"),
        refill="Organic Plant Food",
        flavours=("Tomato", "Orchid"),
        sizes=("500 ml", "1 Litre", "2.5 Litre"),
        series="Wildflower Seed Calendar",
        parts=("Season 1: Spring", "Season 2: Summer", "Season 3: Autumn", "Season 4: Winter"),
        main="Forged Trowel",
        mains=("Ash Handle", "Long Handle", "Narrow Blade", "Left-Handed"),
        extra="Terracotta Pot",
        extras=("10 cm", "15 cm", "Hanging", "Trough"),
    ),
    _Department(
        brands=("Ironvale", "Pocket Lines", "Dunmere"),
        refill="Nickel Track",
        flavours=("Straight", "Curved"),
        sizes=("6 Pieces", "12 Pieces", "30 Pieces"),
        series="Branch Line Scenery",
        parts=("Scene 1: Halt", "Scene 2: Signal Box", "Scene 3: Viaduct", "Scene 4: Quay"),
        main="Tank Locomotive",
        mains=("Apple Livery", "Maroon Livery", "Weathered", "Works Shunter"),
        extra="Speed Controller",
        extras=("Hand-Held", "Twin Dial", "Wireless", "Starter"),
    ),
    _Department(
        brands=("Woolgate", "Skerry", "Fennimore"),
        refill="Merino Yarn",
        flavours=("Heather", "Rust"),
        sizes=("50 g Ball", "100 g Skein", "200 g Cone"),
        series="Blanket Club Pattern",
        parts=("Month 1: Cables", "Month 2: Lace", "Month 3: Bobbles", "Month 4: Border"),
        main="Bamboo Needles",
        mains=("3 mm", "4 mm", "Circular", "Double-Pointed"),
        extra="Drawstring Project Pouch",
        extras=("Gingham", "Fern Print", "Plain Calico", "Striped"),
    ),
    _Department(
        brands=("Quillon", "Papermoth", "Ashby"),
        refill="Bottled Ink",
        flavours=("Midnight", "Moss"),
        sizes=("15 ml", "30 ml", "80 ml"),
        series="Calligraphy Workbook",
        parts=("Volume 1: Italic", "Volume 2: Uncial", "Volume 3: Gothic", "Volume 4: Flourish"),
        main="Fountain Pen",
        mains=("Fine Nib", "Broad Nib", "Demonstrator", "Stub Nib"),
        extra="Dotted Notebook",
        extras=("A5 Cloth", "A6 Pocket", "B5 Layflat", "Refillable Leather"),
    ),
)


@dataclass(frozen=True, slots=True)
class _Thing:
    """An item before it has an id. next_edition: rows from here to its sequel, 0 for none."""

    title: str
    department: int
    brand: int
    line: int
    edition: int
    next_edition: int


@dataclass(frozen=True, slots=True)
class _Weights:
    """Numbers to draw from, with the running sums of their weights."""

    values: tuple[int, ...]
    sums: np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class _World:
    """What leads to what and how popular it is, by item row.

    sequels: the row that follows, -1 for none. companions, habits: two rows each.
    """

    sequels: tuple[int, ...]
    companions: tuple[tuple[int, int], ...]
    habits: tuple[tuple[int, int], ...]
    department_of: tuple[int, ...]
    brand_of: tuple[int, ...]
    is_refill: tuple[bool, ...]
    popular: _Weights
    by_department: tuple[_Weights, ...]
    by_brand: tuple[_Weights, ...]
    departments: _Weights


def make_shop(*, users: int = 3000, seed: int = 0, repeats: float = 0.0) -> PurchaseLog:
    """The synthetic shop's purchases: 5 to 15 for each user, the same bytes for the same arguments.

    repeats: the share of purchases that repeat an earlier one, of 10 to 30 for each user then.

    Only uniform numbers of PCG64 are drawn, whose stream NumPy keeps across versions. The catalogue
    and what leads to what depend on the seed alone: a smaller shop is the larger one's beginning.
    Ids are shuffled, so that their order tells nothing. Times are days.

    >>> make_shop(users=2).items["title"][0]
    'Marlstone Castle Diorama Kit, Part 4: Chapel'

    Raises ConfigError unless there is at least one user, the seed is not negative, and the share of
    repeats lies from 0 to less than 1.
    """
    if users < 1:
        raise ConfigError(f"users is {users}; the shop needs at least one")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must not be negative")
    if not 0 <= repeats < 1:
        raise ConfigError(f"repeats is {repeats}; it must be a share, from 0 to less than 1")
    rng = np.random.Generator(np.random.PCG64(seed))
    things = _things()
    world = _world(things, rng)
    ids = _shuffled_ids(len(things), rng)
    rows = [
        (f"user-{user:05d}", ids[thing], day)
        for user in range(users)
        for thing, day in _purchases(world, repeats, rng)
    ]
    items = sorted((ids[row], thing.title) for row, thing in enumerate(things))
    return PurchaseLog(
        pl.DataFrame(rows, {"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row"),
        pl.DataFrame(items, {"item": pl.String, "title": pl.String}, orient="row"),
        {"synthetic users": users},
    )


def _things() -> tuple[_Thing, ...]:
    """The whole catalogue, ordered by department, brand, line and edition."""
    return tuple(
        _Thing(f"{brand} {name}, {edition}", at, brand_at, line, edition_at, following)
        for at, department in enumerate(_DEPARTMENTS)
        for brand_at, brand in enumerate(department.brands)
        for line, (name, editions) in enumerate(_lines(department))
        for edition_at, (edition, following) in enumerate(editions)
    )


def _lines(department: _Department) -> tuple[tuple[str, list[tuple[str, int]]], ...]:
    """The lines in the order REFILL, SERIES, MAIN, EXTRA; editions with the step to a sequel."""
    last_size, last_part = department.sizes[-1], department.parts[-1]
    sizes = [
        (f"{flavour}, {size}", int(size != last_size))
        for flavour in department.flavours
        for size in department.sizes
    ]
    return (
        (department.refill, sizes),
        (department.series, [(part, int(part != last_part)) for part in department.parts]),
        (department.main, [(edition, 0) for edition in department.mains]),
        (department.extra, [(edition, 0) for edition in department.extras]),
    )


def _world(things: Sequence[_Thing], rng: np.random.Generator) -> _World:
    shelves = _shelves(things)
    partner = _order(len(_DEPARTMENTS), rng)
    popularity = _popularity(things, rng)
    brands = [thing.department * 3 + thing.brand for thing in things]
    departments = [thing.department for thing in things]
    return _World(
        sequels=tuple(
            row + thing.next_edition if thing.next_edition else -1
            for row, thing in enumerate(things)
        ),
        companions=tuple(_companions(thing, shelves, rng) for thing in things),
        habits=tuple(_habits(thing, shelves, partner, rng) for thing in things),
        department_of=tuple(departments),
        brand_of=tuple(brands),
        is_refill=tuple(thing.line == REFILL for thing in things),
        popular=_weights(range(len(things)), popularity),
        by_department=_grouped(departments, popularity),
        by_brand=_grouped(brands, popularity),
        departments=_weights(range(len(_DEPARTMENTS)), _zipf(len(_DEPARTMENTS))),
    )


def _shelves(things: Sequence[_Thing]) -> dict[tuple[int, int, int], list[int]]:
    """The rows of each (department, brand, line)."""
    shelves: dict[tuple[int, int, int], list[int]] = {}
    for row, thing in enumerate(things):
        shelves.setdefault((thing.department, thing.brand, thing.line), []).append(row)
    return shelves


def _companions(
    thing: _Thing, shelves: dict[tuple[int, int, int], list[int]], rng: np.random.Generator
) -> tuple[int, int]:
    """One item of each companion line, made by the next brand of the department."""
    brand = (thing.brand + 1) % 3
    first, second = _COMPANION_LINES[thing.line]
    return (
        _one_of(shelves[thing.department, brand, first], rng),
        _one_of(shelves[thing.department, brand, second], rng),
    )


def _habits(
    thing: _Thing,
    shelves: dict[tuple[int, int, int], list[int]],
    partner: Sequence[int],
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Two items of the department that stands next in the seed's round of departments."""
    there = partner[(partner.index(thing.department) + 1) % len(partner)]
    line = (thing.line + 2) % 4
    first, second = (_one_of(shelves[there, brand, line], rng) for brand in _order(3, rng)[:2])
    return first, second


def _popularity(things: Sequence[_Thing], rng: np.random.Generator) -> list[float]:
    """Zipf weights: over departments in the table's order, over shuffled lines, over editions."""
    ranks = [_order(12, rng) for _ in _DEPARTMENTS]
    return [
        1
        / (1 + thing.department)
        / (1 + ranks[thing.department][thing.brand * 4 + thing.line])
        / (1 + thing.edition)
        for thing in things
    ]


def _purchases(world: _World, repeats: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """One user's purchases: (item row, day), days rising."""
    department = _draw(world.departments, rng)
    bought: list[int] = [_draw(world.by_department[department], rng)]
    days = [int(rng.random() * 365)]
    count = _how_many(rng) * (2 if repeats else 1)
    for _ in range(count - 1):
        if rng.random() < _DRIFTS:
            department = _draw(world.departments, rng)
        if repeats and rng.random() < repeats:
            bought.append(_repeated(world, bought, rng))
        else:
            bought.append(_next_purchase(world, bought, department, rng))
        days.append(days[-1] + 1 + int(rng.random() * 30))
    return list(zip(bought, days, strict=True))


def _how_many(rng: np.random.Generator) -> int:
    count = MIN_PURCHASES
    while count < MAX_PURCHASES and rng.random() < _GOES_ON:
        count += 1
    return count


def _next_purchase(
    world: _World, bought: Sequence[int], department: int, rng: np.random.Generator
) -> int:
    """Draw motives until one ends in something that the user does not own yet."""
    while True:
        anchor = bought[-min(1 + _choose(_ANCHORS, rng), len(bought))]
        motive = _MOTIVES[_choose(_MOTIVE_SHARES, rng)][0]
        thing = _follow(motive, world, anchor, department, rng)
        if thing >= 0 and thing not in bought:
            return thing


def _repeated(world: _World, bought: Sequence[int], rng: np.random.Generator) -> int:
    """Draw from the user's purchases, the often bought more often, until one is taken again."""
    for _ in range(_MAX_DRAWS):
        thing = bought[int(rng.random() * len(bought))]
        gap = 1 + bought[::-1].index(thing)
        interval = _INTERVALS[thing % len(_INTERVALS)]
        is_due = interval / 2 < gap <= 2 * interval
        chance = (1.0 if is_due else _NOT_DUE) * (1.0 if world.is_refill[thing] else _LASTING)
        if rng.random() < chance:
            break
    return thing


def _follow(
    motive: Motive, world: _World, anchor: int, department: int, rng: np.random.Generator
) -> int:
    """The item that a motive leads to; -1 where it leads nowhere."""
    match motive:
        case "sequel":
            return world.sequels[anchor]
        case "companion":
            return world.companions[anchor][int(rng.random() >= _FIRST_OF_TWO)]
        case "habit":
            return world.habits[anchor][int(rng.random() >= _FIRST_OF_TWO)]
        case "brand":
            return _draw(world.by_brand[world.brand_of[anchor]], rng)
        case "taste":
            return _draw(world.by_department[department], rng)
        case "noise":
            everything = world.popular
            if rng.random() < 0.5:
                return _draw(everything, rng)
            return everything.values[int(rng.random() * len(everything.values))]


def _shuffled_ids(count: int, rng: np.random.Generator) -> list[str]:
    return [f"shop-{place:04d}" for place in _order(count, rng)]


def _order(count: int, rng: np.random.Generator) -> list[int]:
    """A random order of 0 to count - 1, from uniform numbers alone."""
    return [int(place) for place in np.argsort(rng.random(count), kind="stable")]


def _one_of(rows: Sequence[int], rng: np.random.Generator) -> int:
    return rows[int(rng.random() * len(rows))]


def _choose(shares: Sequence[float], rng: np.random.Generator) -> int:
    """An index with the given probabilities, which sum to one."""
    point = rng.random()
    for index, share in enumerate(shares[:-1]):
        if point < share:
            return index
        point -= share
    return len(shares) - 1


def _zipf(count: int) -> list[float]:
    return [1 / rank for rank in range(1, count + 1)]


def _weights(values: Sequence[int], weights: Sequence[float]) -> _Weights:
    return _Weights(tuple(values), np.cumsum(np.asarray(weights, dtype=np.float64)))


def _grouped(groups: Sequence[int], weights: Sequence[float]) -> tuple[_Weights, ...]:
    """The rows of each group with their weights; groups are numbered from 0."""
    members: list[list[int]] = [[] for _ in range(max(groups) + 1)]
    for row, group in enumerate(groups):
        members[group].append(row)
    return tuple(_weights(rows, [weights[row] for row in rows]) for rows in members)


def _draw(weights: _Weights, rng: np.random.Generator) -> int:
    place = int(np.searchsorted(weights.sums, rng.random() * weights.sums[-1], side="right"))
    return weights.values[min(place, len(weights.values) - 1)]
