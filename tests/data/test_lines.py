from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.readers.lines import BadLine, BadLines, parse_lines, read_lines, repair_text
from gloss.errors import InputError


def read(path: Path, *, allowed: int = 0) -> tuple[list[tuple[int, str]], BadLines]:
    bad = BadLines(allowed)
    return list(read_lines(path, bad)), bad


def test_lines_are_numbered_from_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x\ny\r\nz")
    assert read(tmp_path / "a")[0] == [(1, "x\n"), (2, "y\r\n"), (3, "z")]


@pytest.mark.parametrize("name", ["a.gz", "a"])
def test_gzip_is_known_by_name_or_by_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"x\n"))
    assert read(tmp_path / name)[0] == [(1, "x\n")]


def test_byte_order_mark_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfx\n")
    assert read(tmp_path / "a")[0] == [(1, "x\n")]


def test_line_that_is_not_utf8_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x\nab\xff\nz\n")
    lines, bad = read(tmp_path / "a")
    assert [number for number, _ in lines] == [1, 3]
    with pytest.raises(InputError, match=r"a:2: not UTF-8 \(byte 3 of the line\)"):
        bad.check()


def damaged(content: bytes, how: str) -> bytes:
    if how == "cut":
        return content[: len(content) // 2]
    if how == "altered":
        return content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]
    return b"not gzip at all"


@pytest.mark.parametrize("how", ["cut", "altered", "foreign"])
def test_damaged_gzip_is_one_line_that_names_the_file(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(damaged(gzip.compress(b"some text\n" * 1000), how))
    with pytest.raises(InputError, match=r"a\.gz is a damaged or unfinished gzip") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_absent_empty_and_folder_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "empty.gz").write_bytes(gzip.compress(b""))
    for name, says in [
        ("absent", "does not exist"),
        ("empty", "is empty"),
        ("empty.gz", "is empty"),
        ("", "Is a directory"),
    ]:
        with pytest.raises(InputError, match=says):
            read(tmp_path / name)


def test_as_many_bad_lines_as_allowed_pass() -> None:
    bad = BadLines(2)
    bad.add(Path("f"), 7, "odd")
    bad.add(Path("f"), 9, "odd")
    bad.check()
    assert bad.count == 2


def test_one_bad_line_too_many_names_the_first_three_and_the_cure() -> None:
    bad = BadLines(4)
    for line in range(1, 6):
        bad.add(Path("f"), line, "odd\nindeed")
    with pytest.raises(InputError) as caught:
        bad.check()
    assert str(caught.value) == (
        "5 lines cannot be read (4 allowed): f:1: odd indeed; f:2: odd indeed; f:3: odd indeed; "
        "and 2 more. Mend the file, or leave such lines out with --max-bad-lines 5"
    )


def test_blank_lines_are_passed_over_and_refused_ones_counted(tmp_path: Path) -> None:
    def parse(text: str) -> str:
        if text == "no\n":
            raise BadLine("refused")
        return text.strip()

    (tmp_path / "a").write_text("yes\n\n  \nno\nyes")
    bad = BadLines(1)
    assert list(parse_lines(tmp_path / "a", parse, bad)) == [(1, "yes"), (5, "yes")]
    assert bad.count == 1


def test_surrogate_pairs_are_joined_and_lone_halves_replaced() -> None:
    assert repair_text("\ud83d\ude00") == "😀"
    assert repair_text("a\ud800b\udc00") == "a\ufffdb\ufffd"


@given(st.text(st.characters()))
def test_repaired_text_can_always_be_written(text: str) -> None:
    assert repair_text(text).encode().decode() == repair_text(text)


@given(st.text())
def test_whole_text_is_left_as_it_is(text: str) -> None:
    assert repair_text(text) == text
