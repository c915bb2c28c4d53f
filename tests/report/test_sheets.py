from __future__ import annotations

import csv
import io
import shutil
import subprocess
from dataclasses import replace

import pytest

from gloss.report.content import Report, Row
from gloss.report.sheets import Sheet, sheets_of, to_csv, to_latex
from report.sample_report import BEAM_HITS, LENGTHS, OURS, SEGMENTS, sample_report

HOSTILE = "50% off & $5_{x} #1 ~^\\ <b> “=1+1”\n\x0b木"


def read(sheet: Sheet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(sheet))))


@pytest.fixture(scope="module")
def sheets() -> dict[str, Sheet]:
    return {sheet.name: sheet for sheet in sheets_of([sample_report(), sample_report()])}


def test_there_is_a_sheet_for_every_table(sheets):
    assert list(sheets) == [
        "overall",
        "model-by-retriever",
        "segments",
        "histories",
        "list-lengths",
        "lists",
        "titles",
        "beams",
    ]


def test_every_row_of_every_report_is_there_with_six_digits(sheets):
    rows = read(sheets["overall"])
    assert len(rows) == 2 * len(sample_report().rows)
    (published,) = {
        row["Recall@5"]
        for row in rows
        if (row["model"], row["retriever"]) == ("GLoSS, Llama-3.1-8B", "E5-small")
    }
    assert published == "0.079557"
    assert rows[0]["NDCG@5 low"] == f"{rows_ndcg() - 0.0028:.6f}"


def rows_ndcg() -> float:
    return sample_report().rows[0].values["ndcg@5"]


def test_parts_lengths_and_beams_have_a_line_each(sheets):
    ours = {name: [r for r in read(s) if r["model"] == OURS] for name, s in sheets.items()}
    assert [row["part"] for row in ours["segments"]] == [*SEGMENTS] * 2
    assert [row["part"] for row in ours["histories"]] == [*LENGTHS] * 2
    assert [row["length"] for row in ours["list-lengths"]] == ["1", "5", "10", "20"] * 2
    assert [float(row["hit"]) for row in ours["beams"]] == [*BEAM_HITS] * 2


def test_models_stand_beside_their_retrievers(sheets):
    lines = read(sheets["model-by-retriever"])
    (published,) = [line for line in lines if "3.1-8B" in line["model"]]
    assert [published[f"{name} Recall@5"] for name in ("BM25", "E5-small", "E5-base")] == [
        "0.078422",
        "0.079557",
        "0.078989",
    ]
    assert published["Recall@5"] == ""  # without a search


def test_sheets_without_rows_are_left_out():
    row = Row("A", {"mrr": 0.1}, {}, 10, "ours")
    assert [sheet.name for sheet in sheets_of([Report("T", "d", "FAIR", "paper", (row,))])] == [
        "overall",
        "model-by-retriever",
    ]


def test_on_paper_the_overall_table_has_the_pages_columns(sheets):
    header = to_latex(sheets["overall"]).splitlines()[5]
    assert header.endswith(r"& Recall@5 & Recall@10 & NDCG@5 & NDCG@10 & MRR \\")


def test_what_is_the_same_in_all_lines_is_said_in_the_caption_but_figures_stay():
    rows = tuple(("d", "FAIR", "paper", model, "ours", "", 1.0) for model in "AB")
    latex = to_latex(Sheet("s", "Title", (*"abcdef", "wrote"), rows))
    assert r"\caption{Title (d, FAIR, paper, ours).}" in latex
    assert r"A & 1.0000 \\" in latex


@pytest.mark.parametrize("text", [HOSTILE, "=1+1", "-x", "a,b", 'a"b', "a\nb"])
def test_a_spreadsheet_gets_text_as_text(text):
    (row,) = csv.reader(io.StringIO(to_csv(Sheet("s", "c", ("a",), ((text,),)))).readlines()[1:])
    assert row[0].removeprefix("'") == text
    assert not row[0].startswith(("=", "+", "-", "@"))


def test_latex_escapes_and_rounds():
    sheet = Sheet("s", "A & B", tuple("abcdefg"), ((*"pqrxyz", 0.12345), (*"pqrXYZ", None)))
    latex = to_latex(replace(sheet, columns=("50%", *"bcdefg")))
    assert r"\caption{A \& B (p, q, r).}" in latex
    assert "x & y & z & 0.1235" in latex  # 0.12345 is a little more in binary
    assert r"X & Y & Z & --" in latex


@pytest.mark.parametrize("text", ["[1] kite", "*kite", "[", "*"])
def test_a_row_of_latex_is_no_argument_of_the_row_before(text):
    """LaTeX reads [2pt] and * after a row as spacing, across line ends too."""
    latex = to_latex(Sheet("s", "c", ("model", "x"), ((text, 1), (text, 2)), keys=0))
    rows = latex.splitlines()[7:9]
    assert rows == [rf"{{}}{text} & 1 \\", rf"{{}}{text} & 2 \\"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path, sheets):
    body = "\n".join(to_latex(sheet) for sheet in sheets.values())
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage[utf8]{inputenc}"
        f"\\begin{{document}}{body}\\end{{document}}"
    )
    call = ["pdflatex", "-interaction=batchmode", "-halt-on-error", "t.tex"]
    assert subprocess.run(call, cwd=tmp_path, check=False).returncode == 0
