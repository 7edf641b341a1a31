r"""Turn the LaTeX between dollar signs into MathML while the site is built.

Every current browser draws MathML by itself, so the pages need no MathJax: neither its megabytes nor the network it
is usually fetched from. A formula that cannot be read stops the build.
"""

import html as text
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<kind>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)

#: What the converter does not know under the names we use.
_PLAIN = {r"\bigl": "", r"\bigr": "", r"\Bigl": "", r"\Bigr": "", r"\tfrac": r"\frac", r"\lvert": "|", r"\rvert": "|"}

_TIGHT = r'<mo lspace="0" rspace="0" stretchy="false">\1</mo>'  # bars and slashes are not spaced as operators


def to_mathml(latex: str, *, block: bool) -> str:
    r"""Convert one formula.

    >>> to_mathml(r"x^2", block=False)[:5], "block" in to_mathml(r"x^2", block=True)
    ('<math', True)
    """
    for name, instead in _PLAIN.items():
        latex = re.sub(re.escape(name) + r"(?![a-zA-Z])", instead.replace("\\", r"\\"), latex)
    mathml = str(convert(latex.strip(), display="block" if block else "inline"))
    mathml = re.sub(r"<mo[^>]*>(\||&#x0007C;|/|&#x0002F;)</mo>", _TIGHT, mathml)
    return re.sub(r"<mo[^>]*>(∞|&#x0221E;)</mo>", r"<mi>\1</mi>", mathml)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Replace every formula of a page."""

    def replace(match: re.Match[str]) -> str:
        latex = text.unescape(match["latex"])
        try:
            return to_mathml(latex, block=match["kind"] == "[")
        except Exception as error:
            raise PluginError(f"{page.file.src_path}: the formula {latex!r} cannot be read: {error}") from error

    return _FORMULA.sub(replace, html)
