"""A report of realistic size: its own figures are invented, its titles awkward on purpose."""

from __future__ import annotations

from gloss.evaluation.beams import Beam
from gloss.evaluation.beyond import TitleFigures
from gloss.evaluation.significance import Comparison
from gloss.report.page import (
    BeyondAccuracy,
    PairedTest,
    Report,
    Row,
    Sample,
    Segment,
    SegmentTable,
    Suggestion,
)
from gloss.report.published import published_rows, published_segments

OURS = "Llama 29M from scratch, catalogue decoding"
LAST_ITEM = "Last-item search"
POPULARITY = "Popularity"
RETRIEVERS = {OURS: "BM25", LAST_ITEM: "BM25"}
TEST_USERS = 19395
HALF_WIDTH = {"recall": 0.0037, "ndcg": 0.0028, "mrr": 0.0025}
RECALL = {
    OURS: (0.0349, 0.0827, 0.1025, 0.1262),
    "Llama 29M from scratch, free decoding": (0.0331, 0.0774, 0.0931, 0.1088),
    LAST_ITEM: (0.0188, 0.0521, 0.0702, 0.0880),
    POPULARITY: (0.0021, 0.0083, 0.0141, 0.0233),
}
NDCG = {model: tuple(round(0.716 * r, 4) for r in recall) for model, recall in RECALL.items()}
SEGMENTS = {"Cold, up to 5": 6688, "Regular, 6 to 13": 10632, "Power, 14 and more": 2075}
TILT = (1.09, 0.97, 0.88)
CUTOFFS = (1, 5, 10, 20)
LENGTHS = {"≤3": 250, "4": 6438, "5": 3300, "6–7": 4104, "8–10": 2500, "11–15": 1500, "16+": 1303}
BEAM_HITS = (0.0349, 0.0181, 0.0122, 0.0097, 0.0080, 0.0055, 0.0043, 0.0036, 0.0032, 0.0028)


def sample_report(*, synthetic: bool = False, protocol: str = "FAIR") -> Report:
    """Four models of this run, the published twelve, three segments and three people."""
    rows = tuple(measured(model) for model in RECALL)
    return Report(
        title="Toys & Games, a small Llama trained from zero",
        dataset="Toys & Games",
        protocol=protocol,
        split="paper",
        rows=rows + (() if synthetic else published_rows("toys", protocol)),
        segments=tuple(segments(row) for row in rows)
        + (() if synthetic else renamed_published_segments()),
        samples=SAMPLES,
        facts=FACTS,
        synthetic=synthetic,
        histories=tuple(histories(row) for row in rows),
        paired_test=PairedTest(rows[0].label, rows[2].label, COMPARISON),
        command="gloss report runs/toys-scratch runs/toys-last-item runs/toys-popular "
        "--title 'Toys & Games' -o report.html",
    )


def measured(model: str) -> Row:
    values = {}
    for place, cutoff in enumerate(CUTOFFS):
        values[f"recall@{cutoff}"] = RECALL[model][place]
        values[f"ndcg@{cutoff}"] = NDCG[model][place]
    values["mrr"] = round(0.61 * RECALL[model][1], 4)
    intervals = {metric: around(metric, value) for metric, value in values.items()}
    kind = "baseline" if model in (LAST_ITEM, POPULARITY) else "ours"
    note = {OURS: "8 layers, 512 wide, 10 beams", LAST_ITEM: "the item itself removed"}
    return Row(
        model,
        values,
        intervals,
        TEST_USERS,
        kind,
        note.get(model, ""),
        RETRIEVERS.get(model, ""),
        beyond(model),
    )


COMPARISON = Comparison(
    metric="recall@5",
    users=TEST_USERS,
    first=0.0827,
    second=0.0521,
    difference=0.0306,
    low=0.0264,
    high=0.0348,
    p_value=0.0001,
    better=1210,
    worse=617,
    needed=1_502,
)


def beyond(model: str) -> BeyondAccuracy:
    lists = {"coverage@5": 0.71, "coverage@20": 0.93, "novelty@5": 10.2, "novelty@20": 10.6}
    if model in (LAST_ITEM, POPULARITY):
        return BeyondAccuracy(lists, 1)
    beams = tuple(
        Beam(n, 1.0, 0.98 * hit, hit, sum(BEAM_HITS[: n + 1]), 0.1)
        for n, hit in enumerate(BEAM_HITS)
    )
    return BeyondAccuracy(lists, 0, TitleFigures(193950, 0.9412, 0.0031, 9.97), 17, beams)


def histories(row: Row) -> SegmentTable:
    parts = {}
    for place, (name, users) in enumerate(LENGTHS.items()):
        recall, ndcg = (row.values[m] * (1.1 - 0.05 * place) for m in ("recall@5", "ndcg@5"))
        values = {"recall@5": recall, "ndcg@5": ndcg}
        half = 2 * (recall * (1 - recall) / users) ** 0.5
        parts[name] = Segment(users, values, {"recall@5": (max(0, recall - half), recall + half)})
    return SegmentTable(row.label, parts)


def around(metric: str, value: float) -> tuple[float, float]:
    half = HALF_WIDTH[metric.partition("@")[0]]
    return max(0.0, value - half), value + half


def segments(row: Row) -> SegmentTable:
    parts = {
        name: Segment(users, {metric: value * tilt for metric, value in row.values.items()})
        for (name, users), tilt in zip(SEGMENTS.items(), TILT, strict=True)
    }
    return SegmentTable(row.label, parts)


def renamed_published_segments() -> tuple[SegmentTable, ...]:
    """The published segments under the names that this report gives to segments."""
    return tuple(
        SegmentTable(table.model, dict(zip(SEGMENTS, table.segments.values(), strict=True)))
        for table in published_segments("toys")
    )


FACTS = {
    "Users": "19,412",
    "Users asked": "19,395",
    "Purchases": "166,757",
    "Catalogue": "11,865 items",
    "Distinct titles": "11,741",
    "Model parameters": "29.4 million",
    "Training": "1,120 steps, 165 s",
    "Device": "1 × NVIDIA H200, bf16",
    "Decoding": "inside the catalogue, 10 beams",
    "Speed": "412 users/s",
    "Seed": "0",
}

SAMPLES = (
    Sample(
        user="A10BRBLF1KF51O",
        history=(
            "Melissa & Doug Deluxe Wooden Railway Train Set",
            "Thomas the Train: Percy's Musical Ride",
            "LEGO DUPLO My First Train Set 10507",
            "Thomas And Friends Wooden Railway - Clickity-Clack Track",
            "Thomas &amp; Friends Wooden Railway - Toby",
            "Thomas And Friends Wooden Railway - Ascending Track Riser Pack",
            "BRIO Stacking Track Supports",
            "Fisher-Price GeoTrax Rail &amp; Road System Elevation Pack",
            "Thomas And Friends Wooden Railway - Roundhouse",
            "Thomas And Friends Wooden Railway - James The Red Engine",
        ),
        recommendations=(
            Suggestion(
                "Thomas And Friends Wooden Railway - Gordon The Big Express Engine", None, False
            ),
            Suggestion(
                "Thomas And Friends Wooden Railway - Edward",
                "Thomas And Friends Wooden Railway - Edward the Engine",
                True,
            ),
            Suggestion("Thomas And Friends Wooden Railway - Henry", None, False),
            Suggestion(
                "Thomas And Friends Wooden Railway - Straight and Curved Expansion Track Pack",
                "Wooden Railway Expansion Track Pack",
                False,
            ),
            Suggestion("BRIO Curved Switching Tracks", None, False),
        ),
        target="Thomas And Friends Wooden Railway - Edward",
    ),
    Sample(
        user="A1RZN8DTV6Q2MJ",
        history=(
            "Settlers of Catan, 3rd Edition",
            "Catan: 5-6 Player Extension 3rd Edition",
            "Carcassonne <script>alert('not run')</script> & its first expansion",
            "Dominion: Intrigue </svg></style>",
        ),
        recommendations=(
            Suggestion("Dominion: Seaside", None, False, "Dominion: Intrigue </svg></style>"),
            Suggestion("Ticket to Ride", None, False),
            Suggestion(
                "Catan: Seafarers Game Expansion 3rd Edition", "Settlers of Catan: Seafarers", False
            ),
            Suggestion("Pandemic", None, False),
            Suggestion("Carcassonne: Traders and Builders", None, False),
        ),
        target="7 Wonders",
    ),
    Sample(
        user="A3W4D8XOGLWUN5",
        history=(
            "Crayola Washable Sidewalk Chalk, 48 Count",
            "Alex Toys Artist Studio Fantastic Spinner",
            "Supercalifragilisticexpialidocious" * 4,
        ),
        recommendations=(),
        target="Crayola Marker Airbrush",
    ),
)
