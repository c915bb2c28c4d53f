"""The documentation: the site builds without a warning, and links of every page lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"))
    if "_build" not in page.parts
)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_OUTSIDE = ("http://", "https://", "mailto:")


@pytest.mark.skipif(
    not all(find_spec(name) for name in ("sphinx", "myst_parser", "furo")),
    reason='needs the extra "docs"',
)
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    built = subprocess.run(
        [*command, "-d", str(tmp_path / "doctrees"), str(ROOT / "docs"), str(tmp_path / "html")],
        capture_output=True,
        text=True,
    )
    assert (built.returncode, built.stderr) == (0, "")
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if "docs" in page.parts]
    assert all((tmp_path / "html" / page.with_suffix(".html")).is_file() for page in pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    links = _LINK.findall(_CODE.sub("", page.read_text("utf-8")))
    dead = [link for link in links if not link.startswith(_OUTSIDE) and not _exists(page, link)]
    assert dead == []


@pytest.mark.parametrize(
    "folder", ["start", "concepts", "howto", "reference", "why"], ids=lambda name: name
)
def test_every_page_of_a_section_is_in_its_contents(folder):
    contents = (ROOT / "docs" / folder / "index.md").read_text("utf-8").split("```{toctree}")[1]
    listed = set(contents.split("```")[0].split())
    pages = {page.stem for page in (ROOT / "docs" / folder).glob("*.md")} - {"index"}
    assert pages - listed == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_advises_to_install_what_is_not_released(page):
    assert not re.search(r"pip install \"?gloss-rec", page.read_text("utf-8"))


def test_terms_of_the_glossary_are_in_order_and_explained_once():
    text = (ROOT / "docs" / "concepts" / "glossary.md").read_text("utf-8")
    terms = re.findall(r"^(.+)\n: ", text, re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
    assert len(terms) > 40


def _exists(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not anchor or target.suffix != ".md":
        return target.exists()
    return target.exists() and anchor in _anchors(target)


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings: lower case, no punctuation, hyphens between words."""
    headings = _HEADING.findall(page.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
