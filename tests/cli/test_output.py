from __future__ import annotations

import pytest

from gloss.cli import output

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
