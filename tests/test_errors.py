from __future__ import annotations

from gloss.errors import MissingExtraError, did_you_mean, on_one_line


def test_the_nearest_name_is_offered_whatever_its_case():
    assert did_you_mean("PAPRE", ("paper", "fair")) == "did you mean paper?"


def test_without_a_near_name_all_are_offered():
    assert did_you_mean("zzz", ("paper", "fair")) == "known: paper, fair"


def test_a_missing_extra_says_what_to_type():
    said = str(MissingExtraError("training", "train"))
    assert said == 'training needs an extra: pip install ".[train]" in the checkout of GLoSS'


def test_what_a_terminal_would_obey_is_shown_instead():
    assert on_one_line("a\x1b[2Jb\x9bc\u202ed\udcff") == "a\\x1b[2Jb\\x9bc\\u202ed\\udcff"


def test_line_breaks_become_spaces_and_letters_stay():
    assert on_one_line(" Zürich\r\n\t日本  語\u2028x\n\n") == "Zürich 日本  語 x"
