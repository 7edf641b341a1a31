"""Put docstrings into the order that the numpy style can express: prose, then sections, then examples.

Our docstrings end with their source and a doctest, often after the parameters; a numpy-style parser would take both
for further parameters. Parameters that share an entry get one each, since the parser finds types and defaults by name.
"""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|attr):`~?([\w.]*?)(\w+)`")
_HEADER = re.compile(r"\w[\w ]*\n-{3,}(\n|$)")
_SHARED = re.compile(r"^(?P<names>\w+(?:, \w+)+)(?P<rest> ?:.*\n(?:[ \t]+.*(?:\n|$)|\n(?=[ \t]))*)", re.MULTILINE)


def reorder(docstring: str) -> str:
    r"""Move prose before the first section, and everything from a prompt on into an Examples section at the end.

    >>> prompt = ">" * 3
    >>> text = f"Do it.\n\nParameters\n----------\nx:\n    A point.\n\nSource: a paper.\n\n{prompt} 1 + 1\n2"
    >>> reorder(text).split("\n\n")
    ['Do it.', 'Source: a paper.', 'Parameters\n----------\nx:\n    A point.', 'Examples\n--------\n>>> 1 + 1\n2']
    """
    prose: list[str] = []
    sections: list[str] = []
    examples: list[str] = []
    current = prose
    for paragraph in re.split(r"\n\s*\n", docstring):
        if _HEADER.match(paragraph):
            title, _, body = paragraph.partition("\n")
            current = examples if title == "Examples" else sections
            current.append(body.partition("\n")[2] if current is examples else paragraph)
        elif paragraph.startswith(">>>"):
            current = examples
            current.append(paragraph)
        elif current is examples or (current is sections and re.search(r"^[ \t]", paragraph, re.MULTILINE)):
            current.append(paragraph)  # an entry has an indented line, prose has none
        else:
            prose.append(paragraph)
    if examples:
        sections.append("Examples\n--------\n" + "\n\n".join(examples))
    return "\n\n".join(prose + [separate(section) for section in sections])


def separate(section: str) -> str:
    r"""Give each of the parameters that share an entry an entry of its own.

    >>> separate("x, v:\n    Both (n, d).\ny:\n    Labels.")
    'x:\n    Both (n, d).\nv:\n    Both (n, d).\ny:\n    Labels.'
    """

    def each(match: re.Match[str]) -> str:
        rest = match["rest"].rstrip("\n")
        return "\n".join(name + rest for name in match["names"].split(", ")) + "\n" * match["rest"].endswith("\n")

    return _SHARED.sub(each, section)


class Reorder(griffe.Extension):
    """Apply :func:`reorder` to every docstring that is shown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\2`", reorder(obj.docstring.value))
