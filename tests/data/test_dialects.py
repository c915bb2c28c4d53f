"""How files are written: whatever the dialect, the same purchases and titles."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import zstandard

from gloss.errors import InputError, UsageError
from preparing import (
    TITLES,
    bought,
    csv_items,
    csv_log,
    histories,
    prepared,
    purchases,
    titles,
    write,
)

LOG = csv_log(purchases())


def zipped(name: str, text: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, text)
    return stream.getvalue()


WRITTEN: dict[str, bytes] = {
    "plain": LOG.encode(),
    "semicolons": csv_log(purchases(), ";").encode(),
    "tabs": csv_log(purchases(), "\t").encode(),
    "bars": csv_log(purchases(), "|").encode(),
    "double colons": csv_log(purchases(), "::").encode(),
    "Excel's first line": b"sep=;\r\n" + csv_log(purchases(), ";").replace("\n", "\r\n").encode(),
    "CRLF": LOG.replace("\n", "\r\n").encode(),
    "CR": LOG.replace("\n", "\r").encode(),
    "LF and CRLF": LOG.replace("\n", "\r\n", 5).encode(),
    "blank lines": b"\n\n" + LOG.replace("\n", "\n\n", 3).encode(),
    "no last line end": LOG.rstrip("\n").encode(),
    "byte-order mark": b"\xef\xbb\xbf" + LOG.encode(),
    "UTF-16": LOG.encode("utf-16"),
    "UTF-16 without a mark": LOG.encode("utf-16-le"),
    "UTF-16, CRLF": LOG.replace("\n", "\r\n").encode("utf-16"),
    "quoted throughout": "\n".join(
        ",".join(f'"{field}"' for field in line.split(",")) for line in LOG.splitlines()
    ).encode(),
    "gzip": gzip.compress(LOG.encode()),
    "Zstandard": zstandard.compress(LOG.encode()),
    "ZIP": zipped("folder/log.csv", LOG),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_every_way_to_write_a_log_gives_the_same_histories(tmp_path: Path, how: str) -> None:
    log = write(tmp_path / "log.csv", WRITTEN[how])
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", log, items)) == histories()


def items_in(
    tmp_path: Path, content: str | bytes, name: str = "items.csv", **options: str
) -> list[str]:
    log = write(tmp_path / "log.csv", LOG)
    return titles(prepared(tmp_path / "out", log, write(tmp_path / name, content), **options))


def rows_of_items(first: str, delimiter: str, *, quoted: bool = False) -> str:
    """A catalogue whose first title is spelled as given."""
    quote = '"' if quoted else ""
    rest = [f"i{n}{delimiter}{quote}{title}{quote}" for n, title in enumerate(TITLES)][1:]
    return "\n".join([f"item{delimiter}title", f"i0{delimiter}{first}", *rest]) + "\n"


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("latin-1", None), ("cp1252", None), ("utf-8", None), ("cp1251", "cp1251"), ("utf-16", None)],
)
def test_letters_survive_their_encoding(tmp_path: Path, encoding: str, said: str | None) -> None:
    title = "Кружка" if encoding == "cp1251" else "Café crème"
    content = rows_of_items(title, "\t").encode(encoding)
    options = {"items_encoding": said} if said else {}
    assert items_in(tmp_path, content, **options)[0] == title


def test_one_letter_beyond_ascii_far_below_decides_the_encoding(tmp_path: Path) -> None:
    rows = "".join(f"x{n},Thing {n}\n" for n in range(150_000))
    content = csv_items().encode() + rows.encode() + "y,Café\n".encode("cp1252")
    assert items_in(tmp_path, content)[-1] == "Café"


@pytest.mark.parametrize(
    ("first", "title"),
    [
        ('"Red kite" wins the day', '"Red kite" wins the day'),
        ('"Red kite, the best', '"Red kite, the best'),
        ('Monitor stand 27"', 'Monitor stand 27"'),
        ('"', '"'),
        ("Red 'kite'", "Red 'kite'"),
    ],
)
def test_between_tabs_and_bars_a_quote_is_a_letter(tmp_path: Path, first: str, title: str) -> None:
    for delimiter in "\t|":
        content = rows_of_items(first, delimiter).replace("Brass compass", '7" compass')
        assert items_in(tmp_path, content)[:1] == [title]
        assert len(items_in(tmp_path, content)) == len(TITLES)


def test_between_tabs_quotes_that_can_only_be_quotes_are_taken_off(tmp_path: Path) -> None:
    content = rows_of_items('"Red ""kite"""', "\t", quoted=True)
    assert items_in(tmp_path, content)[:2] == ['Red "kite"', TITLES[1]]


@pytest.mark.parametrize(
    ("first", "title"),
    [
        ('"Red ""kite"", large"', 'Red "kite", large'),
        ('"Red \\"kite\\", large"', 'Red "kite", large'),
        ('"Slippers 12\\" long"', 'Slippers 12" long'),
        ('Monitor 27" wide', 'Monitor 27" wide'),
        ('"Red\nkite"', "Red kite"),
        ('"C:\\"', "C:\\"),
    ],
)
def test_quotes_in_csv_are_doubled_or_escaped(tmp_path: Path, first: str, title: str) -> None:
    for delimiter in ",;":
        content = rows_of_items(first, delimiter, quoted=True)
        assert items_in(tmp_path, content)[:1] == [title]


def test_an_escape_far_below_is_met(tmp_path: Path) -> None:
    rows = "".join(f'x{n},"Thing {n}"\n' for n in range(60_000))
    content = csv_items() + rows + 'y,"Slippers 12\\" long"\n'
    assert items_in(tmp_path, content)[-1] == 'Slippers 12" long'


def test_two_quotes_lines_apart_do_not_swallow_rows_in_silence(tmp_path: Path) -> None:
    content = (
        rows_of_items('"Red kite', ",")
        .replace("Paper lantern, round", 'Lantern 27"')
        .replace("s, 50", "s")
    )
    with pytest.raises(
        InputError, match=r"items\.csv:2: a quoted field holds .* 3 more rows.*none"
    ):
        items_in(tmp_path, content)
    assert items_in(tmp_path, content, items_quote="")[:1] == ['"Red kite']


def test_quotes_millions_of_letters_apart_are_found_with_their_line(tmp_path: Path) -> None:
    far = [f"i{n},{'kite ' * 100}{n}\n" for n in range(5_000)]  # 500 letters each
    far[4_000] = 'i4000,"Red kite\n'
    far[4_990] = 'i4990,Lantern 27"\n'
    with pytest.raises(InputError, match=r"items\.csv:4002: a quoted field holds .* 990 more rows"):
        items_in(tmp_path, "item,title\n" + "".join(far))


def test_titles_of_several_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    content = rows_of_items('"Red kite\nlarge, blue\nand green, too"', ",", quoted=True)
    assert items_in(tmp_path, content)[:1] == ["Red kite large, blue and green, too"]


def test_a_field_of_any_length_is_read(tmp_path: Path) -> None:
    for length in (131_073, 3_000_000):
        body = "".join(
            f'i{n},"{title}",{"x" * (length if n == 3 else 1)}\n' for n, title in enumerate(TITLES)
        )
        assert items_in(tmp_path, "item,title,description\n" + body) == list(TITLES)


def test_columns_go_by_number_where_there_is_no_head(tmp_path: Path) -> None:
    log = write(tmp_path / "u.data", LOG.partition("\n")[2])
    items = write(tmp_path / "u.item", csv_items("|").partition("\n")[2].replace('"', ""))
    names = {"user": "1", "item": "2", "time": "3", "title": "2", "item_in_items": "1"}
    for options in ({}, {"header": False}):
        data = prepared(tmp_path / "out", log, items, **names, **options)
        assert bought(data) == histories()
        assert titles(data) == list(TITLES)


def test_typed_heads_of_recbole_are_names(tmp_path: Path) -> None:
    head = "user:token\titem:token\ttime:float\n"
    log = write(tmp_path / "a.inter", head + csv_log(purchases(), "\t").partition("\n")[2])
    items = write(tmp_path / "a.item", "item:token\ttitle:token_seq\ni0\tRed\ni1\tBlue\n")
    for user in ("user", "user:token"):
        data = prepared(tmp_path / "out", log, items, user=user)
        assert titles(data) == ["Red", "Blue"]


def test_a_decimal_comma_is_a_point(tmp_path: Path) -> None:
    rows = [("u0", "i0", "1,5"), ("u0", "i1", "1,25")]
    log = write(tmp_path / "log.csv", csv_log(rows, ";"))
    items = write(tmp_path / "items.csv", csv_items())
    assert bought(prepared(tmp_path / "out", log, items, decimal=","))["u0"] == ("i1", "i0")


def test_what_was_detected_is_said(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", csv_log(purchases(), ";").encode("utf-16"))
    items = write(tmp_path / "items.tsv", csv_items("\t").replace('"', ""))
    said = prepared(tmp_path / "out", log, items).summary["read as"]
    assert said["interactions"] == 'semicolons between columns, quotes ", utf-16'
    assert said["items"] == "tabs between columns, no quotes, utf-8"
    assert "seconds since 1970 (2017-07-14 to 2017-07-14)" in said["times"]


def test_an_unknown_encoding_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'utf-9' is no encoding"):
        items_in(tmp_path, csv_items(), items_encoding="utf-9")


def test_a_wrong_encoding_names_the_file_and_the_cure(tmp_path: Path) -> None:
    content = rows_of_items("Café", ",").encode("cp1252")
    with pytest.raises(InputError, match=r"items\.csv:2: not UTF-8"):
        items_in(tmp_path, content, items_encoding="utf-8")


@pytest.mark.parametrize("rows", [1, 40_000])
def test_bad_rows_are_named_by_their_line_also_below_fields_of_several_lines(
    tmp_path: Path, rows: int
) -> None:
    text = "item,title\n" + 'a,"two\nlines"\n' * rows + "b\n" + "c,C\n" + ",no id\n"
    with pytest.raises(InputError) as failure:
        items_in(tmp_path, text)
    assert f"items.csv:{2 + 2 * rows}: 1 fields where the head has 2" in str(failure.value)
    assert f"items.csv:{4 + 2 * rows}: item is missing" in str(failure.value)
