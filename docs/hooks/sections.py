"""Make "docs/mathematics.md, section 2" in docstrings a link to that section."""

import re
from typing import Any

_CITATION = re.compile(r"docs/mathematics\.md, sections? (?P<first>\d)(?: and (?P<second>\d))?")


def link(html: str, target: str) -> str:
    """Link each cited section to its heading.

    >>> link("docs/mathematics.md, section 2.", "m.html")
    'Mathematics, section <a href="m.html#section-2">2</a>.'
    """

    def anchor(number: str) -> str:
        return f'<a href="{target}#section-{number}">{number}</a>'

    def replace(match: re.Match[str]) -> str:
        if match["second"]:
            return f"Mathematics, sections {anchor(match['first'])} and {anchor(match['second'])}"
        return f"Mathematics, section {anchor(match['first'])}"

    return _CITATION.sub(replace, html)


def on_page_content(html: str, page: Any, files: Any, **_: Any) -> str:
    """Link the citations of a page."""
    return link(html, files.get_file_from_path("mathematics.md").url_relative_to(page.file))
