"""The report in a real browser: widths, colour schemes, console, network."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import MISSING, chromium
from gloss.report.page import render_reports

SAMPLE = Path(__file__).parents[1] / "report" / "sample_report.py"

if MISSING:
    pytest.skip(f"{' and '.join(MISSING)} not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report = runpy.run_path(str(SAMPLE))["sample_report"]()
    html = render_reports([report], title=report.title, command=report.command)
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_is_quiet(browser, address, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    page.close()


@pytest.mark.parametrize(("scheme", "paper_is_light"), [("light", True), ("dark", False)])
def test_the_page_and_its_pictures_follow_the_colour_scheme(
    browser, address, scheme, paper_is_light
):
    page = browser.new_page(color_scheme=scheme)
    page.goto(address)
    paper = brightness(page, "body", "backgroundColor")
    ink = brightness(page, "figure svg text", "fill")
    assert (paper > 127) == paper_is_light
    assert abs(paper - ink) > 150
    page.close()


def test_labels_stay_inside_their_pictures(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    outside = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const it = text.getBoundingClientRect();
                return it.left < box.left - 1 || it.right > box.right + 1;
            }).map(text => text.textContent);
        })"""
    )
    assert outside == []
    page.close()


def test_a_label_does_not_run_into_its_value(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    touching = page.evaluate(
        """() => [...document.querySelectorAll(
            ['bars', 'segment', 'last-item'].map(name => `svg[aria-labelledby*="${name}-"]`).join()
        )].flatMap(svg => {
            const texts = [...svg.querySelectorAll('text')];
            return texts.filter((text, i) => i % 2 == 0 &&
                text.getBoundingClientRect().right >= texts[i + 1].getBoundingClientRect().left
            ).map(text => text.textContent);
        })"""
    )
    assert touching == []
    page.close()


def test_labels_do_not_run_into_each_other(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(address)
    touching = page.evaluate(
        """() => [...document.querySelectorAll('figure svg')].flatMap(svg => {
            const texts = [...svg.querySelectorAll('text')].map(text => [
                text.textContent, text.getBoundingClientRect()]);
            return texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([two, b]) =>
                a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom
            ).map(([two]) => `${one} | ${two}`));
        })"""
    )
    assert touching == []
    page.close()


def brightness(page, selector: str, style: str) -> float:
    """Mean of red, green and blue, 0 to 255."""
    colour = page.evaluate(
        f"getComputedStyle(document.querySelector({selector!r})).{style}.match(/\\d+/g).slice(0, 3)"
    )
    return sum(map(int, colour)) / 3
