from __future__ import annotations

import pytest

from gloss.errors import UsageError
from gloss.report.content import Report, Row
from gloss.report.headline import headline, remarks
from gloss.report.published import published_rows

USERS = 19395


def row(model: str, recall: float, half: float | None = 0.004, *, kind: str = "ours") -> Row:
    intervals = {} if half is None else {"recall@5": (recall - half, recall + half)}
    return Row(model, {"recall@5": recall}, intervals, USERS, kind)


def report(*rows: Row, protocol: str = "PAPER", synthetic: bool = False) -> Report:
    return Report("T", "toys", protocol, "paper", rows, synthetic=synthetic)


def test_a_lead_is_told_with_its_size():
    told = headline(report(row("A", 0.06), row("B", 0.05, kind="baseline")))
    assert told == (
        "The next purchase is among the first 5 recommendations for 6.0\u00a0% of users (A), "
        "against 5.0\u00a0% for the best baseline (B): 20\u00a0% higher."
    )


def test_a_lead_of_twice_or_more_is_told_in_times():
    assert headline(report(row("A", 0.12), row("B", 0.04, kind="baseline"))).endswith(
        ": 3.0 times as high."
    )


def test_a_defeat_is_told_as_one():
    assert headline(report(row("A", 0.04), row("B", 0.06, kind="baseline"))).endswith(
        ": ours does not beat it."
    )


def test_overlapping_intervals_are_too_close_to_call():
    close = report(row("A", 0.06, 0.01), row("B", 0.05, 0.01, kind="baseline"))
    assert headline(close).endswith(": too close to call.")
    assert "Their 95\u00a0% intervals overlap." in remarks(close)


def test_missing_intervals_are_admitted():
    bare = report(row("A", 0.06, None), row("B", 0.05, None, kind="baseline"))
    assert "No intervals were computed, so chance is not excluded." in remarks(bare)


def test_the_best_of_several_speaks_for_ours_and_for_the_baselines():
    told = headline(
        report(
            row("A", 0.05),
            row("A2", 0.08),
            row("B", 0.01, kind="baseline"),
            row("B2", 0.06, kind="baseline"),
        )
    )
    assert "(A2)" in told
    assert "(B2)" in told


def test_a_report_without_baseline_or_without_ours_says_so():
    assert "No baseline is in this report" in headline(report(row("A", 0.06)))
    assert "No model of ours" in headline(report(row("B", 0.06, kind="baseline")))


def test_a_baseline_that_finds_nothing_divides_nothing():
    told = headline(report(row("A", 0.06), row("B", 0.0, 0.0, kind="baseline")))
    assert told.endswith(": it finds nothing.")


def test_published_figures_are_compared_under_paper_only():
    rows = (row("A", 0.0955), *published_rows("toys", "PAPER"))
    (contest,) = [text for text in remarks(report(*rows)) if "published" in text]
    (aside,) = [text for text in remarks(report(*rows, protocol="FAIR")) if "published" in text]
    assert contest.endswith("ours (0.0955) is 20\u00a0% above it.")  # 0.0955 / 0.079557 - 1
    assert aside.endswith("for orientation and does not compare with ours (0.0955).")


def test_figures_of_fewer_users_are_no_contest_with_published_ones():
    few = Row("A", {"recall@5": 0.2}, {}, 500, "ours")
    told = remarks(report(few, *published_rows("toys", "PAPER")))
    assert any("does not compare with ours" in text for text in told)


def test_synthetic_data_are_named():
    assert any("synthetic" in text for text in remarks(report(row("A", 0.1), synthetic=True)))


def test_another_metric_leads_where_recall_at_5_is_absent():
    alone = Row("A", {"ndcg@10": 0.0512, "mrr": 0.04}, {}, USERS, "ours")
    assert headline(report(alone)).startswith("NDCG@10 is 0.0512 (A).")


def test_a_report_without_figures_is_refused():
    with pytest.raises(UsageError, match="no figures"):
        headline(report(*published_rows("toys", "PAPER")))


def test_few_users_are_told_how_to_know_noise_from_change():
    wide = Row("A", {"recall@5": 0.1}, {"recall@5": (0.04, 0.16)}, 37, "ours")
    narrow = Row("A", {"recall@5": 0.1}, {"recall@5": (0.09, 0.13)}, 37, "ours")
    (said,) = [text for text in remarks(report(wide)) if "--seeds" in text]
    assert said.startswith("With 37 users the 95\u00a0% interval of Recall@5, 0.0400 to 0.1600,")
    assert not [text for text in remarks(report(narrow)) if "--seeds" in text]  # 0.04 of 0.1
