"""The report in a real browser: quiet, complete, and readable on a phone."""

import pytest

import hand_made
from browsing import DESKTOP, PHONE, needs_browser, visit
from holomorph.reporting import report

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = report(hand_made.all_records(), tmp_path_factory.mktemp("report") / "report.html")
    return path.as_uri()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_opens_quietly_and_whole(browser, page, size):
    visit(browser, page, size)
    browser.execute_script("console.debug('listening')")
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert len(messages) == 1, messages
    assert "listening" in messages[0]
    script = "return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])"
    images = browser.execute_script(script)
    assert len(images) > 20
    assert all(complete and width > 0 and alt for complete, width, alt in images)


@pytest.mark.parametrize("size", [DESKTOP, PHONE, (320, 600)], ids=["desktop", "phone", "small phone"])
def test_nothing_scrolls_sideways(browser, page, size):
    visit(browser, page, size)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
    beyond = browser.execute_script(
        "return [...document.querySelectorAll('main *')]"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []


def test_letters_on_a_phone_are_large_enough_to_read(browser, page):
    visit(browser, page, PHONE)
    smallest = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('main p, main td, main th, main dd, main figcaption')]"
        ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 13
    # letters inside figures are 10 pt in a drawing 4.8 inches wide
    scale = browser.execute_script(
        "return Math.min(...[...document.querySelectorAll('figure > img')].map(i => i.clientWidth))"
    ) / (4.8 * 72)
    assert 10 * scale >= 9


def test_the_links_within_the_page_lead_somewhere(browser, page):
    visit(browser, page, DESKTOP)
    missing = browser.execute_script(
        "return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash.slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert missing == []
