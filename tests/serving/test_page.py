"""The page in a real browser: every tab, by mouse and by keyboard, with keys and without."""

from __future__ import annotations

import runpy
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chromium import MISSING, chromium
from gloss.report.page import render_reports
from gloss.serving.arms import Experiment
from gloss.serving.security import SCOPES, Keys, new_key
from services import Held, running

if MISSING:
    pytest.skip(f"not installed here: {', '.join(MISSING)}", allow_module_level=True)

from playwright.sync_api import expect

SAMPLE = Path(__file__).parents[1] / "report" / "sample_report.py"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(shop_bundle, tmp_path_factory):
    """A service with the report of a run."""
    folder = tmp_path_factory.mktemp("page")
    sample = runpy.run_path(str(SAMPLE))["sample_report"](synthetic=True)
    report = folder / "report.html"
    report.write_text(render_reports([sample], title=sample.title, command=sample.command), "utf-8")
    with running(shop_bundle, folder / "state.db", report=report, name="tiny") as service:
        yield service


@contextmanager
def opened(browser, shop, tab: str = "Try it", **how):
    """The page, opened at a tab; it must have said nothing and asked nobody else."""
    page = browser.new_page(**how)
    page.set_default_timeout(15_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    home = f"http://127.0.0.1:{shop.port}/"
    page.goto(home)
    if tab != "Try it":
        page.get_by_role("link", name=tab, exact=True).click()
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith((home, "data:"))] == []


READY = {
    "Try it": "ol.list > li",
    "Compare": "ol[aria-label='List B'] > li",
    "Catalogue": "tbody tr",
    "Live": "dl.facts dd",
    "Report": "main div",
}


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_every_tab_fits_and_axe_finds_nothing_serious(browser, shop, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    how = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with opened(browser, shop, **how) as page:
        for tab, ready in READY.items():
            page.get_by_role("link", name=tab, exact=True).click()
            page.wait_for_selector(ready)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
            assert page.evaluate("scrollY") == 0, tab
            found = [
                (tab, fault["id"], fault["nodes"][0]["html"])
                for fault in axe.run(page).response["violations"]
                if fault["impact"] in ("serious", "critical")
            ]
            assert found == []


def listed(page) -> list[str]:
    page.wait_for_selector("ol.list[aria-busy='false'] > li")
    return page.locator("ol.list .title").all_inner_texts()


def test_a_history_is_built_by_keyboard_and_the_list_follows(browser, shop):
    title = shop.client.get("/v1/items").json()["items"][0]["title"]
    expected = shop.post("/v1/recommend", history=[title]).json()["items"]
    with opened(browser, shop) as page:
        listed(page)
        page.keyboard.press("/")
        page.keyboard.type(title)
        page.wait_for_selector("[role=option]")
        page.keyboard.press("ArrowDown")
        with page.expect_response("**/v1/recommend"):
            page.keyboard.press("Enter")
        expect(page.locator(".how strong")).to_contain_text("rankers")
        assert listed(page) == [item["title"] for item in expected]
        with page.expect_response("**/v1/recommend"):
            page.get_by_role("button", name=f"Not {expected[0]['title']}").click()
        page.wait_for_selector("text=One item is left out")
        assert expected[0]["title"] not in listed(page)


def test_titles_are_shown_while_they_are_written(browser, shop):
    go_on, served = threading.Event(), shop.service.model.served

    class Slow(Held):
        def recommend(self, histories, k, *, rules, wish, on_title=None):
            made = served.recommend(histories, k, rules=rules, wish=wish)
            time.sleep(0.2)
            for title in ("Kite & <b>Ball</b>", "Drum"):
                on_title(0, title)
            assert go_on.wait(30)
            return made

    with opened(browser, shop) as page:
        before = listed(page)
        shop.service.model.swap(Slow(served, threading.Event(), go_on))
        page.get_by_label("Show what was bought, too").check()
        page.wait_for_selector("li.draft:nth-child(2)")
        assert page.locator("li.draft .title").all_inner_texts() == ["Kite & <b>Ball</b>", "Drum"]
        assert page.locator(".how span").inner_text() == "2 titles"
        go_on.set()
        assert listed(page) == before  # nothing was bought, so that nothing is different
        assert page.locator("li.draft").count() == 0
        shop.service.model.swap(served)


def test_a_customer_is_loaded_with_what_they_bought(browser, shop):
    items = shop.client.get("/v1/items").json()["items"][:3]
    events = [{"user": "anna", "item": item["item"], "id": item["item"]} for item in items]
    shop.post("/v1/events", events=events)
    with opened(browser, shop) as page:
        page.get_by_label("A customer's id").fill("anna")
        page.get_by_role("button", name="Load").click()
        page.wait_for_selector("ol.history li:nth-child(3)")
        bought = page.locator("ol.history li > span:nth-child(2)").all_inner_texts()
        assert bought == [item["title"] for item in items]


def test_an_item_is_added_hidden_removed_and_taken_back(browser, shop):
    title = 'Zeppelin "><svg onload=alert(1) x='  # of a shop that sells trouble
    with opened(browser, shop, "Catalogue") as page:
        page.get_by_role("button", name="Add an item").click()
        page.get_by_label("Id", exact=True).fill("z-1")
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_role("button", name="Add", exact=True).click()
        page.wait_for_selector("dialog", state="detached")
        page.get_by_label("Search the catalogue").fill("zeppelin")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert page.locator("tbody th").inner_text() == title
        page.get_by_role("button", name="Hide").click()
        page.wait_for_selector("tr.off")
        assert shop.client.get("/v1/items/z-1").json()["hidden"]
        page.get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Take back").click()
        page.wait_for_selector("tbody tr:not(.off)")
        assert shop.client.get("/v1/items/z-1").json()["title"] == title
        shop.client.delete("/v1/items/z-1")


def test_two_settings_are_held_side_by_side(browser, shop):
    title = shop.client.get("/v1/items").json()["items"][5]["title"]
    with opened(browser, shop, "Compare") as page:
        page.wait_for_selector("text=10 of 10 items stand in both lists.")
        page.get_by_label("A wish for B").fill(title)
        page.wait_for_selector("text=only in B")
        assert title in page.locator("ol[aria-label='List B'] .title").all_inner_texts()


def test_two_recommenders_are_held_side_by_side(browser, shop_bundle, other_bundle, tmp_path):
    both = Experiment(("today", "new"))
    state = tmp_path / "state.db"
    with running(shop_bundle, state, other=other_bundle, experiment=both) as shop:
        by_name = {
            name: [item["title"] for item in shop.post("/v1/recommend", model=name).json()["items"]]
            for name in both.names
        }
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        with opened(browser, shop, "Compare") as page:
            page.wait_for_selector("ol[aria-label='List B'] > li")
            for side, name in zip("AB", both.names, strict=True):
                assert page.get_by_label(f"Recommender of {side}").input_value() == name
                titles = page.locator(f"ol[aria-label='List {side}'] .title").all_inner_texts()
                assert titles == by_name[name]
            with page.expect_response("**/v1/recommend"):
                page.get_by_label("Recommender of B").select_option("today")
            page.wait_for_selector("text=10 of 10 items stand in both lists.")
            serious = [
                fault["id"]
                for fault in axe.run(page).response["violations"]
                if fault["impact"] in ("serious", "critical")
            ]
            assert serious == []


def test_what_is_answered_is_counted_live(browser, shop):
    with opened(browser, shop, "Live") as page:
        shown = page.locator("dl.facts dd").first
        shown.wait_for()
        before = int(shown.inner_text())
        shop.post("/v1/recommend", history=["Kite"])
        expect(shown).not_to_have_text(str(before))


def test_the_last_hour_is_held_against_yesterday(browser, shop_bundle, tmp_path):
    with running(shop_bundle, tmp_path / "state.db") as shop, opened(browser, shop) as page:
        listed(page)  # a list of popular items, which counts
        page.get_by_role("link", name="Live", exact=True).click()
        page.wait_for_selector("text=nothing of this hour yesterday")
        metrics, now = shop.service.metrics, time.time()
        metrics.clock = lambda: now - 24 * 3600
        for reason in ("bought", "bought", "bought", "popular"):
            metrics.recommended(0.1, "fused", [reason], ["i1"])
        metrics.clock = lambda: now
        metrics.recommended(0.1, "fused", ["bought"] * 10, ["i1"])
        page.wait_for_selector("text=50 % of the lists are made in another way, and 25 % of")
        widths = page.locator("ul.bars i.was").evaluate_all(
            "bars => bars.map((b) => b.style.width)"
        )
        assert sorted(widths) == ["0%", "100%", "25%", "75%"]


def test_the_report_of_the_run_is_shown_in_its_own_style(browser, shop):
    with opened(browser, shop, "Report") as page:
        page.wait_for_selector("main svg")
        assert page.locator("main table").count() > 1
        assert page.locator("main").count() == 1
        assert page.evaluate(
            "getComputedStyle(document.querySelector('main > div').shadowRoot"
            ".querySelector('.report')).maxWidth"
        ) == "960px"  # fmt: skip
        assert page.evaluate(
            "getComputedStyle(document.querySelector('main > div').shadowRoot"
            ".querySelector('.meta')).fontSize"
        ) == "14px"  # fmt: skip


def test_a_key_is_asked_for_and_kept_from_others(browser, shop_bundle, tmp_path):
    text, key = new_key("all", SCOPES)
    with running(shop_bundle, tmp_path / "state.db", Keys((key,))) as shop:
        for path in ("/", "/web/page.css", "/web/main.js"):
            assert shop.client.get(path).status_code == 200
        assert shop.client.get("/web/nothing.js").status_code == 401
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{shop.port}/")
        page.get_by_role("textbox", name="Key").fill("wrong")
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector("text=does not know this key")
        page.get_by_role("textbox", name="Key").fill(text)
        page.get_by_role("button", name="Go on").click()
        page.wait_for_selector("ol.list > li")
        assert text not in page.content()
        assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
        page.close()


def test_the_pages_files_are_kept_by_their_tag_and_run_nothing_foreign(shop):
    answer = shop.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = shop.client.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
