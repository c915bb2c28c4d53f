"""The report's first sentence: whether the best model beats the best baseline, and by how much."""

from __future__ import annotations

from gloss.evaluation.significance import Comparison
from gloss.report.content import (
    PairedTest,
    Report,
    Row,
    best_row,
    cutoff_of,
    is_comparable,
    main_metric,
    metric_label,
)

__all__ = ["headline", "on_noise", "remarks"]

_WIDE = 0.5
"""An interval wider than this share of its value is remarked on."""

_LEVEL_WITHIN = 0.005
"""Without intervals, values closer than this share of the larger one count as level."""


def headline(report: Report) -> str:
    """One or two sentences on the best model of this run and its best baseline."""
    metric = main_metric(report.rows)
    ours = best_row(report.rows, "ours", metric)
    baseline = best_row(report.rows, "baseline", metric)
    if ours is None:
        alone = baseline or report.rows[0]
        return f"{_finds(alone, metric)}. No model of ours is in this report."
    if baseline is None:
        return f"{_finds(ours, metric)}. No baseline is in this report to compare it with."
    return _against(ours, baseline, metric, report.paired_test)


def remarks(report: Report) -> tuple[str, ...]:
    """What must be said with the headline: chance, published figures, synthetic data."""
    metric = main_metric(report.rows)
    ours = best_row(report.rows, "ours", metric)
    found = (
        _on_chance(ours, best_row(report.rows, "baseline", metric), metric, report.paired_test),
        on_noise(ours, metric),
        _on_published(report, ours, metric),
        _on_synthetic(report),
    )
    return tuple(remark for remark in found if remark)


def _against(ours: Row, baseline: Row, metric: str, test: PairedTest | None) -> str:
    mine, theirs = ours.values[metric], baseline.values[metric]
    verdicts = {
        "ahead": _more(mine, theirs),
        "level": "too close to call",
        "behind": "ours does not beat it",
    }
    against = f"against {_share(theirs, metric)} for the best baseline ({baseline.label})"
    verdict = _tested(test) if test else _verdict(ours, baseline, metric)
    return f"{_finds(ours, metric)}, {against}: {verdicts[verdict]}."


def _tested(test: PairedTest) -> str:
    """The same as `_verdict`, by the paired test, which has more power on the same users."""
    return {"better": "ahead", "worse": "behind", "level": "level"}[test.comparison.verdict]


def _verdict(ours: Row, other: Row, metric: str) -> str:
    """Whether ours is ahead, behind or level; ahead and behind need disjoint intervals."""
    mine, theirs = ours.values[metric], other.values[metric]
    low, high = ours.intervals.get(metric, (mine, mine))
    other_low, other_high = other.intervals.get(metric, (theirs, theirs))
    apart = low > other_high or high < other_low
    near = abs(mine - theirs) <= _LEVEL_WITHIN * max(mine, theirs)
    if near or not apart:
        return "level"
    return "ahead" if mine > theirs else "behind"


def _finds(row: Row, metric: str) -> str:
    cutoff = cutoff_of(metric)
    if metric.startswith("recall@") and cutoff:
        within = (
            f"among the first {cutoff} recommendations"
            if cutoff > 1
            else "the first recommendation"
        )
        share = _share(row.values[metric], metric)
        return f"The next purchase is {within} for {share} of users ({row.label})"
    return f"{metric_label(metric)} is {row.values[metric]:.4f} ({row.label})"


def _share(value: float, metric: str) -> str:
    return f"{100 * value:.1f}\u00a0%" if metric.startswith("recall@") else f"{value:.4f}"


def _more(mine: float, theirs: float) -> str:
    if theirs <= 0:
        return "it finds nothing"
    if mine >= 2 * theirs:
        return f"{mine / theirs:.1f} times as high"
    return f"{100 * (mine / theirs - 1):.0f}\u00a0% higher"


def _on_chance(ours: Row | None, baseline: Row | None, metric: str, test: PairedTest | None) -> str:
    if ours is None or baseline is None:
        return ""
    if test:
        return _in_pairs(test.comparison)
    if metric not in ours.intervals or metric not in baseline.intervals:
        return "No intervals were computed, so chance is not excluded."
    (low, high), (other_low, other_high) = ours.intervals[metric], baseline.intervals[metric]
    overlap = low <= other_high and other_low <= high
    return "Their 95\u00a0% intervals " + ("overlap." if overlap else "do not overlap.")


def _in_pairs(found: Comparison) -> str:
    share = found.metric.startswith("recall@")
    unit, factor, digits = (" percentage points", 100, 1) if share else ("", 1, 4)
    low, high = (f"{factor * end:+.{digits}f}" for end in (found.low, found.high))
    p = "p\u00a0<\u00a00.001" if found.p_value < 0.001 else f"p\u00a0=\u00a0{found.p_value:.3f}"
    return (
        f"User by user the difference is {factor * found.difference:+.{digits}f}{unit} "
        f"(95\u00a0%: {low} to {high}; paired randomisation test, {p}): "
        f"better for {found.better:,} users, worse for {found.worse:,}."
    )


def on_noise(ours: Row | None, metric: str) -> str:
    """What to do where users are too few to see a change; empty where they are not."""
    if ours is None or metric not in ours.intervals:
        return ""
    value, (low, high) = ours.values[metric], ours.intervals[metric]
    if high - low <= _WIDE * value:
        return ""
    return (
        f"With {ours.users:,} users the 95\u00a0% interval of {metric_label(metric)}, {low:.4f} to "
        f"{high:.4f}, is wider than half of its value: a change of settings or of a few purchases "
        "may move it as far by chance alone. Run with several seeds (gloss run --seeds 3), and let "
        "gloss compare test two runs, or two bundles on newer purchases."
    )


def _on_published(report: Report, ours: Row | None, metric: str) -> str:
    best = best_row(report.rows, "published", metric)
    if best is None or ours is None:
        return ""
    figure = f"({best.label}) reached {metric_label(metric)} {best.values[metric]:.4f}"
    if not is_comparable(report):
        return (
            f"The best published system {figure} under another protocol, split or set of users: "
            f"it is given for orientation and does not compare with ours "
            f"({ours.values[metric]:.4f})."
        )
    return f"The best published system {figure}: {_compared(ours, best, metric)}"


def _compared(ours: Row, best: Row, metric: str) -> str:
    mine, theirs = ours.values[metric], best.values[metric]
    if _verdict(ours, best, metric) == "level":
        return f"ours ({mine:.4f}) is too close to it to call."
    change = f"{abs(100 * (mine / theirs - 1)):.0f}\u00a0%"
    return f"ours ({mine:.4f}) is {change} {'above' if mine > theirs else 'below'} it."


def _on_synthetic(report: Report) -> str:
    if not report.synthetic:
        return ""
    return (
        "The data are synthetic: a generated shop with generated users. The figures show that the "
        "pipeline works; they say nothing about real purchases."
    )
