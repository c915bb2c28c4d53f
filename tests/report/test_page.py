from __future__ import annotations

import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gloss.report.page import Report, Row, Sample, Suggestion, render_reports
from report.sample_report import OURS, POPULARITY, sample_report

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """The page's elements, their ids and addresses; every element that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.addresses += [v for key, v in attrs if key in {"src", "href", "xlink:href", "action"}]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(sample_report())


def render_report(report: Report) -> str:
    return render_reports([report], title=report.title, command=report.command)


def small(title: str, model: str = "A") -> Report:
    row = Row(model, {"recall@5": 0.1, "ndcg@5": 0.05, "recall@10": 0.2}, {}, 10, "ours")
    sample = Sample(title, (title,), (Suggestion(title, title + "!", True),), title)
    return Report(title, title, "FAIR", "paper", (row,), (), (sample,), {title: title})


def test_the_same_report_gives_the_same_bytes(html):
    assert render_report(sample_report()) == html


def test_nothing_is_fetched_and_nothing_is_run(html):
    page = Page(html)
    assert "script" not in page.tags
    assert all(a.startswith(("#", "data:")) for a in page.addresses)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html


@pytest.mark.parametrize(
    "title",
    [
        "<script>alert(1)</script>",
        "</svg></style>",
        "\"'><img src=x onerror=y>",
        "&amp; <b>",
        "$x_1$",
    ],
)
def test_other_peoples_text_stays_text(title):
    plain, awkward = (
        Page(render_report(small("plain", "plain"))),
        render_report(small(title, title)),
    )
    assert Page(awkward).tags == plain.tags
    assert title in Page(awkward).text


def test_control_characters_and_lone_surrogates_are_survived():
    title = "a\x0b\x00\ud800\nz"
    Page(render_report(small(title, title))).text.encode("utf-8")


def test_letters_that_matplotlib_lacks_are_drawn_by_the_reader():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "木の電車" in Page(render_report(small("t", "木の電車"))).text


def test_every_measured_row_and_the_best_published_one_stand_in_the_table(html):
    table = html[html.index("<table>") : html.index("</table>")]
    measured = [row for row in sample_report().rows if row.kind != "published"]
    assert len(re.findall('scope="row"', table)) == len(measured) + 1
    for row in measured:
        assert row.label in Page(table + "</table>").text
        assert f"{row.values['recall@5']:.4f}" in table
    assert "GLoSS, Llama-3.1-8B + E5-small" in table


def test_every_row_stands_in_the_grid_under_its_retriever(html):
    start = html.index('<table class="grid">')
    grid = html[start : html.index("</table>", start) + len("</table>")]
    columns = [retriever.strip() for retriever in re.findall('class="number">(.*?)</th>', grid)]
    assert columns == ["BM25", "E5-small", "E5-base", "no search"]
    lines = [line for line in grid.split("<tr>") if "GLoSS, Llama-3.1-8B" in line]
    assert [float(v) for v in re.findall(r"number[^>]*>([\d.]+)", lines[0])] == [
        0.0784,
        0.0796,
        0.0790,
    ]


def test_the_best_of_each_column_is_marked_once(html):
    table = html[html.index("<table>") : html.index("</table>")]
    assert re.findall(r'class="number best">([\d.]+)', table) == [
        "0.0827",
        "0.1025",
        "0.0592",
        "0.0734",
        "0.0504",
    ]


def test_under_paper_a_published_figure_can_be_the_best():
    weak = Row("A", {"recall@5": 0.01}, {}, 19395, "ours")
    report = replace(
        sample_report(protocol="PAPER"), rows=(weak, *sample_report().rows[4:]), histories=()
    )
    assert re.findall(r'class="number best">([\d.]+)', render_report(report))[0] == "0.0796"


def test_metrics_without_room_are_named(html):
    assert "Not shown: Recall@1, Recall@20, NDCG@1, NDCG@20." in html


def test_ids_are_used_once(html):
    ids = Page(html).ids
    assert len(ids) == len(set(ids))


def test_pictures_say_their_numbers_in_words(html):
    descriptions = re.findall(r"<desc[^>]*>(.*?)</desc>", html)
    # Recall and NDCG, of all and of last-item search; segments; histories; list lengths; beams
    assert len(descriptions) == 2 + 2 + 3 + 2 + 1 + 2
    assert f"{OURS} + BM25 0.0827" in descriptions[0]
    assert "BM25, published 0.0536" in descriptions[2]
    assert f"{POPULARITY}: Recall@5 with a history of ≤3 0.0091" in descriptions[7]  # 1.1 x .0083
    assert f"{POPULARITY}: Recall@1 0.0021" in descriptions[9]
    assert f"{OURS} + BM25: 1 0.0349" in descriptions[10]


def test_pictures_are_coloured_by_the_page(html):
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, re.S))
    assert not re.search(r"(fill|stroke): #", pictures)
    assert "var(--ours)" in pictures


def test_the_target_is_marked_and_a_different_wording_is_shown(html):
    assert Page(html).text.count("bought next") == 1 + 1  # the mark, and the explanation above
    assert "wrote “Thomas And Friends Wooden Railway - Edward the Engine”" in html


def test_a_bought_item_that_led_to_a_suggestion_is_shown(html):
    assert "because of: Dominion: Intrigue </svg></style>" in Page(html).text


def test_beams_and_titles_are_told(html):
    told = " ".join(Page(html).text.split())
    assert (
        f"{OURS} + BM25 generated 193,950 titles. Titles of the catalogue: 94.1 %. "
        "Repeats of an earlier title of the same user: 0.3 %. Titles that found nothing: 17."
    ) in told
    table = html[html.index("Hits by beam") :]
    first_five = 0.0349 + 0.0181 + 0.0122 + 0.0097 + 0.0080
    assert f"{first_five:.4f}" in table[: table.index("</table>")]


def test_several_reports_share_a_page_with_one_overview():
    reports = [sample_report(), sample_report(synthetic=True)]
    html = render_reports(reports, title="Everything")
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("h1") == 1
    assert html.count('<table class="grid">') == 1
    assert {"#p1", "#p2"} <= set(page.addresses)
    assert page.text.count("another protocol, split or set of users") > 0


def test_a_missed_target_and_an_empty_list_are_told(html):
    assert html.count("Bought next, not in the list:") == 2
    assert "no generated title found an item" in html


def test_only_the_end_of_a_long_history_is_shown(html):
    assert "2 earlier, then" in html
    assert "Melissa" not in html


def test_synthetic_data_are_marked():
    page = Page(render_report(sample_report(synthetic=True))).text
    assert "synthetic data" in page
    assert "Sample users (synthetic)" in page
    assert "GLoSS, " not in page


def test_sections_without_content_are_left_out():
    row = Row("A", {"recall@5": 0.1}, {}, 10, "ours")
    text = Page(render_report(Report("T", "d", "FAIR", "paper", (row,)))).text
    for heading in ("People", "Facts", "by how much", "length of the list", "Made by"):
        assert heading not in text


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    render_report(small("t"))
    assert dict(matplotlib.rcParams) == before


def test_zeros_everywhere_can_be_drawn():
    row = Row("A", {"recall@5": 0.0, "ndcg@5": 0.0, "recall@10": 0.0}, {}, 10, "ours")
    Page(render_report(Report("T", "d", "FAIR", "paper", (row,))))
