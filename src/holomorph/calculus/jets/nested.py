"""Arguments and results of torch functions: tensors in lists, tuples and dictionaries."""

from collections.abc import Callable, Iterator
from typing import Any


def mapped(f: Callable[[Any], Any], tree: Any) -> Any:
    """The same nest with f of each leaf; leaves come in one order, always.

    >>> mapped(lambda leaf: leaf + 1, [1, (2, {"a": 3})])
    [2, (3, {'a': 4})]
    """
    if isinstance(tree, list):
        return [mapped(f, item) for item in tree]
    if isinstance(tree, dict):
        return {key: mapped(f, item) for key, item in tree.items()}
    if not isinstance(tree, tuple):
        return f(tree)
    items = [mapped(f, item) for item in tree]
    if hasattr(tree, "_fields"):  # a named tuple of Python
        return type(tree)(*items)
    return type(tree)(items)


def leaves(tree: Any) -> Iterator[Any]:
    """What lies at the ends.

    >>> list(leaves([1, (2, {"a": 3})]))
    [1, 2, 3]
    """
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, list | tuple):
        yield tree
        return
    for item in tree:
        yield from leaves(item)
