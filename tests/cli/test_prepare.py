"""`gloss prepare`: what is typed, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preparing import TITLES, csv_items, csv_log, purchases, write


@pytest.fixture
def recbole(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    write(folder / "shop.inter", head + csv_log(purchases(users=20), "\t").partition("\n")[2])
    rows = "".join(f"i{n}\t{title}\n" for n, title in enumerate(TITLES))
    write(folder / "shop.item", "item_id:token\ttitle:token_seq\n" + rows)
    return folder


def test_a_preset_is_an_option_or_a_command(done, recbole, tmp_path):
    read = ("--source", recbole, "--json")
    option = done("prepare", "--preset", "recbole", *read, "-o", tmp_path / "a")
    command = done("prepare", "preset", "recbole", *read, "-o", tmp_path / "b")
    assert json.loads(option.out) == json.loads(command.out)
    assert json.loads(option.out)["purchases"] == 20 * 4


def test_what_was_understood_is_printed(done, tmp_path):
    log = write(tmp_path / "log.csv", csv_log(purchases(users=20), ";").encode("utf-16"))
    items = write(tmp_path / "items.csv", csv_items())
    said = done("prepare", "table", "--interactions", log, "--items", items, "-o", tmp_path / "out")
    assert 'interactions: semicolons between columns, quotes ", utf-16\n' in said.out
    assert "times: time: numbers, seconds since 1970 (2017-07-14 to 2017-07-14)\n" in said.out


def test_a_run_warns_before_it_trains(done, tmp_path, caplog):
    rows = [(f"u{n}", f"i{t % 2}", t) for n in range(30) for t in range(4)]
    log = write(tmp_path / "log.csv", csv_log(rows))
    items = write(tmp_path / "items.csv", csv_items())
    done("prepare", "table", "--interactions", log, "--items", items, "-o", tmp_path / "out")
    (warning,) = caplog.messages
    assert "`gloss run` keeps what was bought in lists, unless ranking.exclude_seen" in warning


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "recbole"], "say --preset NAME, --source FOLDER and -o FOLDER"),
        (["--preset", "recbol", "--source", ".", "-o", "x"], "'recbole'"),
        (["--preset", "recbole", "--source", "none", "-o", "x"], "none is not a folder"),
        (["--preset", "recbole", "shop", "-o", "x"], "options stand after the command"),
    ],
)
def test_a_preset_that_lacks_something_is_told_what(gloss, options, said):
    assert said in gloss("prepare", *options).error


def test_signs_that_shells_eat_go_by_name(done, tmp_path):
    log = write(tmp_path / "log.txt", csv_log(purchases(users=20), "\t"))
    items = write(tmp_path / "items.csv", csv_items().replace('"', "").replace(", ", " "))
    read = ("--interactions", log, "--items", items, "-o", tmp_path / "out", "--json")
    said = done("prepare", "table", *read, "--delimiter", "tab", "--quote", "none")
    assert json.loads(said.out)["read as"]["interactions"] == (
        "tabs between columns, no quotes, utf-8"
    )
