"""How soon the service's page is there, and how soon it answers a hand: in Chromium, on loopback.

    python benchmarks/page.py BUNDLE --report report.html --rounds 7
    python benchmarks/page.py BUNDLE --report report.html --screenshots shots

Needs Playwright and a Chromium (`--chromium`). Each round opens a fresh browser context: nothing
is kept. A tab is there when what it is opened for stands in it. Times of interactions are taken in
the page, from the event of the click or key until the frame after the result stands in the
document. Prints medians and the slowest; `--screenshots` takes every tab in the light, in the dark
and on a phone, has axe look at each where it is installed, and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import processor
from service_process import serving

__all__ = ["call_parser"]

_LIST = "ol.list[aria-busy='false'] > li"
_TABS = {
    "Try it": _LIST,
    "Compare": "ol[aria-label='List B'] > li",
    "Catalogue": "tbody tr",
    "Live": "dl.facts dd",
    "Report": ".report",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
_PAINTS = """() => Object.fromEntries(performance.getEntriesByType("paint").map(
    (entry) => [entry.name, entry.startTime]))"""
_FIND = """
    const find = (what) => document.querySelector(what)
        ?? document.querySelector("main > div")?.shadowRoot?.querySelector(what);"""
"""The report stands in a shadow tree."""

_UNTIL = """(ready) => new Promise((done) => {
    const look = () => document.querySelector(ready)
        ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
    look(); })"""
"""Milliseconds from the beginning of the navigation until something stands in the document."""

_AFTER = (
    """([event, ready, changed]) => {"""
    + _FIND
    + """
    const text = () => changed && document.querySelector(changed)?.innerText;
    const before = text();
    const is_there = () => find(ready) && (!changed || text() !== before);
    window.measured = new Promise((done) => addEventListener(event, (given) => {
        const look = () => is_there()
            ? requestAnimationFrame(() => done(performance.now() - given.timeStamp))
            : requestAnimationFrame(look);
        requestAnimationFrame(look);
    }, { capture: true, once: true })); }"""
)
"""Begins to wait for an event, then for what is ready and, if wanted, another text than before."""


def call_parser() -> argparse.ArgumentParser:
    """What the script takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--report", type=Path, required=True, help="the page of a run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--screenshots", type=Path, help="a folder for them; nothing is measured")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the program")
    return parser


def main() -> None:
    call = call_parser().parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(call.bundle, Path(folder), "--report", str(call.report)) as service,
        _browser(call.chromium) as browser,
    ):
        home = f"http://127.0.0.1:{service.port}/"
        if call.screenshots:
            _take_screenshots(browser, home, call.screenshots)
            return
        _measure(browser, home)  # to warm up
        rounds = [_measure(browser, home) for _ in range(call.rounds)]
    print(f"{processor()}; {call.rounds} rounds")
    print(f"{'':<40}{'median ms':>10}{'slowest':>9}")
    for name in rounds[0]:
        times = [each[name] for each in rounds]
        print(f"{name:<40}{statistics.median(times):>10.0f}{max(times):>9.0f}")


@contextmanager
def _browser(program: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        opened = engine.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()


def _measure(browser: Any, home: str) -> dict[str, float]:
    """Milliseconds by what they are of, in one fresh context."""
    context = browser.new_context(**_LOOKS["light"])
    page = context.new_page()
    page.goto(home, wait_until="commit")
    there = page.evaluate(_UNTIL, _LIST)
    paints = page.evaluate(_PAINTS)
    times = {
        "first paint": paints["first-paint"],
        "first contentful paint": paints["first-contentful-paint"],
        "the first list stands there": there,
    }

    def timed(name: str, event: str, act: Any, ready: str, changed: str = "") -> None:
        page.evaluate(_AFTER, [event, ready, changed])
        act()
        times[name] = page.evaluate("() => window.measured")

    page.keyboard.press("/")
    timed("a letter in the search: items", "keydown", lambda: page.keyboard.press("f"),
          "[role=option]")  # fmt: skip
    page.keyboard.press("ArrowDown")
    timed("an item of it: the new list", "keydown", lambda: page.keyboard.press("Enter"), _LIST,
          "ol.list")  # fmt: skip
    page.get_by_label("A wish").first.fill("a kite")
    for tab in (*list(_TABS)[1:], "Try it"):
        link = page.get_by_role("link", name=tab, exact=True)
        timed(f"to the tab {tab}", "click", link.click, _TABS[tab])
    page.get_by_role("link", name="Catalogue", exact=True).click()
    page.wait_for_selector(_TABS["Catalogue"])
    page.get_by_label("Search the catalogue").focus()
    timed("a letter in the catalogue: its rows", "keydown", lambda: page.keyboard.press("t"),
          _TABS["Catalogue"], "tbody")  # fmt: skip
    context.close()
    return times


def _take_screenshots(browser: Any, home: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, look in _LOOKS.items():
        page = browser.new_page(**look)
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.goto(home)
        for tab, ready in _TABS.items():
            page.get_by_role("link", name=tab, exact=True).click()
            page.wait_for_selector(ready)
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"{tab.split()[0].lower()}-{name}.png")
            print(f"{tab}, {name}: axe {_faults(page)}, console {said}", flush=True)
        page.close()


def _faults(page: Any) -> list[str] | str:
    """What axe finds, of whatever impact."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        return "is not installed"
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']} ({fault['impact']})" for fault in found]


if __name__ == "__main__":
    main()
