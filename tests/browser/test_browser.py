"""The page in a real browser. A session of its own, `nox -s browser`: it needs Chromium, which the other tests do not.

``PAGE_SCREENSHOTS`` names a folder that keeps the pictures.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from conformance.report.merged import merge_runs
from conformance.report.page import html_page
from conformance.session.reader import read_events

GOLDEN = Path(__file__).parents[1] / "golden" / "matrix"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TABS = 60
"""How often Tab may be pressed until something is reached."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium that is on the path."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("no Chromium on the path: apt-get install chromium, or put one of these there: " + ", ".join(NAMES))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the recorded pairs, on the disk."""
    file = tmp_path_factory.mktemp("report") / "index.html"
    file.write_text(html_page(merge_runs(map(read_events, GOLDEN.glob("*.jsonl")))), "utf-8")
    return file.as_uri()


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, opened from the disk; with scripts enabled and without. It may neither complain nor ask for anything."""
    context = browser.new_context(java_script_enabled=request.param, offline=True)
    opened, said, asked = context.new_page(), list[str](), list[str]()

    def console(message: ConsoleMessage) -> None:
        said.append(message.text)

    opened.on("console", console)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(address)
    yield opened
    context.close()
    assert said == []
    assert {url.partition("#")[0] for url in asked} - {"data:,"} == {address}


def focused(page: Page) -> str:
    """The text of what has the focus."""
    return page.locator(":focus").first.text_content() or "" if page.locator(":focus").count() else ""


def tab_to(page: Page, text: str) -> None:
    """Press Tab until something that begins with ``text`` has the focus."""
    for _ in range(TABS):
        page.keyboard.press("Tab")
        if focused(page).strip().startswith(text):
            return
    raise AssertionError(f"Tab does not lead to {text!r}")


def test_it_answers_first_which_versions_can_be_used(page: Page) -> None:
    assert page.title() == "Which versions can I use? PEFT x transformers"
    assert page.locator("main dl dt").first.text_content() == "conforms"
    assert page.locator("main dl dd").first.text_content() == (
        "PEFT 0.21.2 with transformers 4.45.1; PEFT 0.14.0 with transformers 4.45.1"
    )
    assert page.get_by_role("cell", name=re.compile("^violates")).first.is_visible()


def test_tables_have_names_and_headers(page: Page) -> None:
    matrix = page.locator("table.matrix")
    assert matrix.get_by_role("columnheader").all_text_contents() == [
        "transformers",
        "PEFT 0.21.2",
        "PEFT 0.14.0",
        "PEFT 0.13.2",
    ]
    assert matrix.get_by_role("rowheader").all_text_contents() == ["5.23.0", "4.45.1", "4.38.0"]


def test_the_keyboard_leads_from_the_table_to_the_text_of_a_failure(page: Page) -> None:
    tab_to(page, "violates")
    page.keyboard.press("Enter")
    (pair,) = page.locator("details[open]").all()
    assert (pair.locator("summary").text_content() or "").startswith("PEFT 0.13.2 with transformers 4.45.1: violates")
    assert pair.locator("table.grid").is_visible()
    tab_to(page, "V")
    page.keyboard.press("Enter")
    failure = page.locator("#f2 pre").first
    assert failure.is_visible()
    assert "equivalence.step_logits[gpt2] is violated" in (failure.text_content() or "")
    assert "peft-conformance replay --clause equivalence.step_logits" in (failure.text_content() or "")


def test_a_summary_opens_and_closes_with_the_keyboard_and_shows_its_focus(page: Page) -> None:
    tab_to(page, "1. injection.present")
    page.keyboard.press("Enter")
    assert page.locator("#f1 pre").first.is_visible()
    page.keyboard.press("Space")
    assert not page.locator("#f1 pre").first.is_visible()
    ring = page.locator("summary:focus-visible")
    assert ring.count() == 1


def test_what_was_got_is_text_and_no_element(page: Page) -> None:
    page.locator("summary", has_text="3. injection.present").click()
    assert '<script>alert("1 & 2")</script>' in (page.locator("#f3 pre").first.text_content() or "")
    assert page.locator("script").count() == 0


def test_a_narrow_window_scrolls_its_tables_and_not_itself(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    box = page.locator("body").bounding_box()
    assert box is not None
    assert box["width"] <= 360
    assert page.locator("table.matrix").is_visible()


COLOURS = """() => Object.fromEntries([...document.querySelectorAll("table.matrix td")].map(
    cell => [cell.querySelector("a")?.textContent ?? "none", getComputedStyle(cell).backgroundColor]))"""


@pytest.mark.parametrize("look", ["light", "dark", "grey"])
def test_it_can_be_read_in_light_dark_and_grey(browser: Browser, address: str, look: str, tmp_path: Path) -> None:
    page = browser.new_page(
        color_scheme="dark" if look == "dark" else "light", viewport={"width": 1200, "height": 1000}
    )
    page.goto(address)
    if look == "grey":
        page.evaluate("document.documentElement.style.filter = 'grayscale(1)'")
    page.locator("summary", has_text="0.13.2 with transformers 4.45.1").click()
    folder = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"{look}.png", full_page=True)
    colours = page.evaluate(COLOURS)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, re.findall(r"\d+", background)[:3])) < 3 * 128
    assert dark == (look == "dark")
    assert len({colours[name] for name in ("conforms", "known failures", "violates", "incomplete")}) == 4
    assert colours["incomplete"] == colours["impossible"] == colours["not run"]
    page.close()
