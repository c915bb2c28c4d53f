from __future__ import annotations

import json
import logging

import pytest

from gloss.cli import main, output

HOSTILE = "\x1b[2J[bold]kite[/bold]\u202e"
SHOWN = "\\x1b[2J[bold]kite[/bold]\\u202e"


@pytest.mark.parametrize(
    "show",
    [
        lambda: output.print_line(HOSTILE),
        lambda: output.print_summary(HOSTILE, {"title": "x"}),
        lambda: output.print_summary("x", {HOSTILE: 1}),
        lambda: output.print_summary("x", {"title": HOSTILE}),
        lambda: output.print_summary("x", {"titles": {HOSTILE: 1}}),
        lambda: output.print_summary("x", {"titles": {"of": {HOSTILE: HOSTILE}}}),
    ],
)
def test_text_of_others_is_shown_as_it_is_and_obeyed_by_nothing(capsys, show):
    show()
    printed = capsys.readouterr().out
    assert SHOWN in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("text", [HOSTILE, "\x9b2J", "a\nb", "\udc80", "kite é \U0001fa81"])
def test_json_holds_no_sequence_for_a_terminal_and_means_the_same(capsys, text):
    output.print_json({"title": [text]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"title": [text]}
    assert not {"\x1b", "\x9b", "\u202e", "\udc80"} & {*printed}


def test_json_leaves_letters_as_they_are(capsys):
    output.print_json("kite é \U0001fa81")
    assert capsys.readouterr().out == '"kite é \U0001fa81"\n'


def test_what_is_logged_is_one_line_without_sequences_for_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    main._log_on_one_line()
    logging.lastResort.handle(
        logging.LogRecord(
            "gloss", logging.WARNING, "", 1, "%s is damaged", (f"{HOSTILE}\nb",), None
        )
    )
    assert capsys.readouterr().err == f"{SHOWN} b is damaged\n"
