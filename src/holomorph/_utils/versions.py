"""The versions that a record states."""

import platform
from importlib import metadata


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, holomorph, torch and further packages, as far as they are installed.

    >>> sorted(versions("numpy"))
    ['holomorph', 'numpy', 'python', 'torch']
    """
    found = {"python": platform.python_version()}
    for package in ("holomorph", "torch", *packages):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
