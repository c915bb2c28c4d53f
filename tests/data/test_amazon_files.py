from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gloss.data.dataset import PurchaseLog
from gloss.data.readers.amazon import _SKIPPABLE, file_names, read_amazon
from gloss.errors import InputError, UsageError

REVIEWS = [("u1", "a", 1), ("u2", "a", 2), ("u1", "b", 3)]
METADATA = ["{'asin': 'a', 'title': 'Kite'}", "{'asin': 'b', 'title': \"Potter's clay\"}"]


def review(user: Any = "u1", item: Any = "a", time: Any = 1, **more: Any) -> str:
    return json.dumps({"reviewerID": user, "asin": item, **more, "unixReviewTime": time})


def write(
    folder: Path,
    *,
    reviews: list[str] | None = None,
    metadata: list[str] | None = None,
    stem: str = "Beauty",
) -> Path:
    lines = [review(*row) for row in REVIEWS] if reviews is None else reviews
    items = METADATA if metadata is None else metadata
    (folder / f"reviews_{stem}_5.json").write_text("".join(f"{line}\n" for line in lines))
    (folder / f"meta_{stem}.json").write_text("".join(f"{line}\n" for line in items))
    return folder


def titles(log: PurchaseLog) -> dict[str, str | None]:
    return dict(log.items.iter_rows())


def test_purchases_and_titles_are_read_in_the_order_of_the_files(tmp_path: Path) -> None:
    log = read_amazon("beauty", write(tmp_path))
    assert log.interactions.rows() == REVIEWS
    assert log.items.rows() == [("a", "Kite"), ("b", "Potter's clay")]
    assert log.counts["review lines"] == 3
    assert log.counts["metadata lines"] == 2
    assert log.counts["bad lines"] == 0


def test_gzip_and_plain_files_read_alike(tmp_path: Path) -> None:
    plain = read_amazon("beauty", write(tmp_path))
    for file in list(tmp_path.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    packed = read_amazon("beauty", tmp_path)
    assert packed.interactions.equals(plain.interactions)
    assert packed.items.equals(plain.items)


@pytest.mark.parametrize(
    ("category", "stem"),
    [
        ("toys", "Toys_and_Games"),
        ("Sports", "Sports_and_Outdoors"),
        ("Beauty", "Beauty"),
        ("Office_Products", "Office_Products"),
    ],
)
def test_short_and_original_names_lead_to_the_original_files(
    tmp_path: Path, category: str, stem: str
) -> None:
    assert read_amazon(category, write(tmp_path, stem=stem)).interactions.height == 3


@pytest.mark.parametrize("category", ["", "../x", "a/b", "a\0b", ".hidden"])
def test_a_category_cannot_lead_out_of_the_folder(category: str) -> None:
    with pytest.raises(UsageError, match="is not a category"):
        file_names(category)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither reviews_Beauty_5\.json\.gz nor reviews_Beauty"):
        read_amazon("beauty", tmp_path)
    (write(tmp_path) / "meta_Beauty.json").unlink()
    with pytest.raises(InputError, match=r"neither meta_Beauty\.json\.gz nor meta_Beauty\.json"):
        read_amazon("beauty", tmp_path)


def test_a_mistyped_category_is_told_the_short_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="short names: beauty, toys, sports"):
        read_amazon("toyz", tmp_path)


BAD_REVIEWS = {
    "not JSON": '{"reviewerID": "u"',
    "not an object": '["u", "a", 1]',
    "reviewerID is missing": '{"asin": "a", "unixReviewTime": 1}',
    "asin is missing": review(item=None),
    "reviewerID is not text": review(user=7),
    "unixReviewTime is missing": review(time=None),
    "unixReviewTime is not a whole number": review(time="1"),
    "unixReviewTime is not": review(time=True),
    "unixReviewTime is not a": review(time=2**63),
    "asin holds half a character": review(item="\ud800"),
    "not usable JSON": "[" * 100_000,
}


@pytest.mark.parametrize("reason", BAD_REVIEWS)
def test_a_bad_review_is_named_by_file_and_line(tmp_path: Path, reason: str) -> None:
    write(tmp_path, reviews=[review(), BAD_REVIEWS[reason], review()])
    with pytest.raises(InputError, match=rf"reviews_Beauty_5\.json:2: {reason}.*--max-bad-lines 1"):
        read_amazon("beauty", tmp_path)
    log = read_amazon("beauty", tmp_path, max_bad_lines=1)
    assert log.interactions.rows() == [("u1", "a", 1)] * 2
    assert log.counts["bad lines"] == 1


BAD_METADATA = {
    "not a Python literal": "{'asin': 'a', 'title': 'open}",
    "not a Python literal: it holds more": "{'asin': 'a', 'title': str(1)}",
    "not a Python literal: it holds": "{'asin': 'a', [1]: 2}",
    "not an object": "['a']",
    "asin is missing": "{'title': 'Kite'}",
    "asin is not text": "{'asin': 7}",
    "title is not text": "{'asin': 'a', 'title': ['Kite']}",
}


@pytest.mark.parametrize("reason", BAD_METADATA)
def test_bad_metadata_is_named_by_file_and_line(tmp_path: Path, reason: str) -> None:
    write(tmp_path, metadata=[*METADATA, BAD_METADATA[reason]])
    with pytest.raises(InputError, match=rf"meta_Beauty\.json:3: {reason}"):
        read_amazon("beauty", tmp_path)
    log = read_amazon("beauty", tmp_path, max_bad_lines=1)
    assert titles(log) == {"a": "Kite", "b": "Potter's clay"}


def test_bad_lines_of_both_files_count_together(tmp_path: Path) -> None:
    write(tmp_path, reviews=[review(), "x"], metadata=[*METADATA, "x("])
    assert read_amazon("beauty", tmp_path, max_bad_lines=2).counts["bad lines"] == 2
    with pytest.raises(InputError, match=r"2 lines .* \(1 allowed\): .*5\.json:2: .*json:3: "):
        read_amazon("beauty", tmp_path, max_bad_lines=1)


def test_metadata_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    call = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    metadata = [f"{{'asin': 'a', 'title': {call}}}", f"{{'asin': 'nobody', 'title': {call}}}", call]
    write(tmp_path, metadata=[*METADATA, *metadata])
    assert read_amazon("beauty", tmp_path, max_bad_lines=3).counts["bad lines"] == 3
    assert not mark.exists()


def test_items_nobody_bought_are_left_out_and_counted(tmp_path: Path) -> None:
    unbought = [
        "{'asin': 'c', 'title': 'Unbought'}",
        "{'title': 'Unbought', 'asin': 'd'}",
        '{"asin": "e", "title": "Unbought"}',
    ]
    log = read_amazon("beauty", write(tmp_path, metadata=[*unbought, *METADATA]))
    assert titles(log) == {"a": "Kite", "b": "Potter's clay"}
    assert log.counts["metadata lines"] == 5
    assert log.counts["metadata lines of items nobody bought"] == 3


def test_absent_and_empty_titles_are_told_apart(tmp_path: Path) -> None:
    metadata = ["{'asin': 'a'}", "{'asin': 'b', 'title': ''}"]
    assert titles(read_amazon("beauty", write(tmp_path, metadata=metadata))) == {"a": None, "b": ""}


def test_metadata_may_be_json(tmp_path: Path) -> None:
    metadata = [json.dumps({"asin": "a", "title": "Émile's 😀", "x": None}), '{"asin": "b"}']
    log = read_amazon("beauty", write(tmp_path, metadata=metadata))
    assert titles(log) == {"a": "Émile's 😀", "b": None}


def test_an_item_that_stands_twice_is_kept_twice_for_prepare_to_judge(tmp_path: Path) -> None:
    log = read_amazon(
        "beauty", write(tmp_path, metadata=["{'asin': 'a', 'title': 'X'}", *METADATA])
    )
    assert log.items["title"].to_list() == ["X", "Kite", "Potter's clay"]


HOSTILE = [
    "line\nbreak",
    "\x00\x1b[31mred",
    "<script>alert(1)</script>",
    "\u202eright to left",
    "'\"\\",
    "{'asin': 'b'}",
    "#",
]


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_titles_are_read_as_they_are(tmp_path: Path, title: str) -> None:
    for line in (repr({"asin": "a", "title": title}), json.dumps({"asin": "a", "title": title})):
        assert titles(read_amazon("beauty", write(tmp_path, metadata=[line])))["a"] == title


def test_half_characters_in_titles_are_replaced_and_counted(tmp_path: Path) -> None:
    metadata = [r"{'asin': 'a', 'title': 'x\ud800'}", r"{'asin': 'b', 'title': '\ud83d\ude00'}"]
    log = read_amazon("beauty", write(tmp_path, metadata=metadata))
    assert titles(log) == {"a": "x\ufffd", "b": "😀"}
    assert log.counts["titles with half characters"] == 2
    json_lines = [r'{"asin": "a", "title": "x\ud800"}', r'{"asin": "b", "title": "\ud83d\ude00"}']
    log = read_amazon("beauty", write(tmp_path, metadata=json_lines))
    assert titles(log) == {"a": "x\ufffd", "b": "😀"}


def test_an_unknown_escape_in_a_literal_is_no_warning(tmp_path: Path) -> None:
    log = read_amazon("beauty", write(tmp_path, metadata=[r"{'asin': 'a', 'title': '\d'}"]))
    assert titles(log)["a"] == r"\d"


def test_reviews_without_a_review_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no review"):
        read_amazon("beauty", write(tmp_path, reviews=["", " "]))


@pytest.mark.parametrize(
    "line", ["{'asin': 'c', 't': 'open}", "{'asin': 'c', 't': x}", "{'asin': 'c'"]
)
def test_a_broken_line_of_an_item_nobody_bought_is_still_a_bad_line(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(InputError, match=r"meta_Beauty\.json:3: not a Python literal"):
        read_amazon("beauty", write(tmp_path, metadata=[*METADATA, line]))


VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_the_quick_check_sees_the_asin_that_parsing_sees(fields: dict[str, Any]) -> None:
    line = repr({"asin": "B001"} | {name: fields[name] for name in fields if name != "asin"})
    skippable = _SKIPPABLE.fullmatch(line)
    assert skippable is not None
    assert skippable["asin"] == ast.literal_eval(line)["asin"]
