"""Where studies keep what they measured: JSON files outside the tree, row by row, so that a stopped one goes on.

``HOLOMORPH_RUNS`` names the folder; it is ``runs/studies`` unless given. ``python -m studies.summary`` draws the
figures that a page quotes from these files into the page's ``summary.csv``.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holomorph._utils.io import write_atomically

RUNS = Path(os.environ.get("HOLOMORPH_RUNS", "runs/studies"))


def results(question: str) -> Path:
    """The folder of one question's results."""
    return RUNS / "results" / question


def save(path: Path, found: Any) -> None:
    """Write JSON, whole or not at all."""
    write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())


def keep(path: Path, rows: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Work out every row that the file has not, write it after each, return all of them in the given order."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name, work in rows.items():
        if name not in known:
            known[name] = work()
            print(name, known[name] if len(str(known[name])) < 300 else "done", flush=True)
            save(path, known)
    return {name: known[name] for name in rows}
