"""The example of a shop's week, small: an update is what a fit on all purchases would be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("--users", "300", "--new-items", "30", "--purchases", "600", "--removed", "20")


@pytest.fixture
def week(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import week

    yield week
    sys.modules.pop("week", None)


def test_every_day_the_update_is_the_fit(week, tmp_path, capsys):
    rows = {row.name: row for row in week.main([*SMALL, "--folder", str(tmp_path)])}
    for day in ("Tuesday", "Wednesday"):
        ours, fit = rows[f"{day}'s update"], rows[f"{day}'s fit"]
        assert ours.equal == 1.0
        assert (ours.recall, ours.recall_of_new) == (fit.recall, fit.recall_of_new)
    assert rows["Monday's fit, later"].recall_of_new == 0.0  # it knows none of the new items
    assert rows["Tuesday's update"].recall > 0.05
    *_, tuesday, wednesday = capsys.readouterr().out.splitlines()
    for line, day in ((tuesday, "Tuesday"), (wednesday, "Wednesday")):
        words = line.removesuffix(" files are equal, byte by byte").split()
        assert words[0] == f"{day}:"
        assert words[1] == words[3]  # as many as there are


def test_the_week_is_the_whole_log_but_what_is_held_back(week):
    log = week.make_shop(users=50)
    lived = week.a_week(log, new=10, purchases=100, gone=5, measured=1000)
    assert lived.purchases.height == log.interactions.height - 50
    assert lived.held_back.height == 50
    new = {*lived.items["item"].tail(10)}
    assert new <= {*lived.purchases["item"]}
    assert not new & {*lived.purchases.filter(~lived.tuesday)["item"]}
    assert lived.tuesday.sum() == 100
    assert not new & {*lived.gone}
