"""The documentation as people open it: a file on their disk, on a desk or on a phone, without a network."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from browsing import DESKTOP, needs_browser, visit

pytestmark = needs_browser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages: those of a build that SITE names, or freshly built ones."""
    if "SITE" in os.environ:
        return ROOT / os.environ["SITE"]
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True, timeout=300)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, (400, 844)], ids=["desktop", "phone"])
def test_no_page_scrolls_sideways(browser: Any, site: Path, size: tuple[int, int]) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 25
    for page in pages:
        visit(browser, page.as_uri(), size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0], page


def test_the_search_works_in_pages_opened_as_files(browser: Any, site: Path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    visit(browser, (site / "index.html").as_uri(), DESKTOP)
    field = browser.find_element("css selector", ".md-search__input")
    field.click()
    field.send_keys("certificate")
    found = WebDriverWait(browser, 60).until(lambda b: b.find_elements("css selector", ".md-search-result__item"))
    assert "ertificate" in found[0].get_attribute("textContent")
