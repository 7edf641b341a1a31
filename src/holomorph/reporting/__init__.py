"""Records in, one offline HTML page out.

The package is callable: ``holomorph.report(records, path)`` is :func:`report`, whether or not the package, which
has the same name, was imported before.
"""

import sys
from types import ModuleType
from typing import Any

from holomorph.reporting.render import render, report

__all__ = ["render", "report"]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **settings: Any) -> Any:
        return report(*args, **settings)


sys.modules[__name__].__class__ = _Callable
