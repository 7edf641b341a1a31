"""Results that are kept row by row in a JSON file, so that a stopped benchmark goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holomorph._utils.io import write_atomically


def keep(path: Path, rows: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Work out every row that the file has not, write it after each, return all of them in the given order."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name, work in rows.items():
        if name not in known:
            known[name] = work()
            print(name, known[name] if len(str(known[name])) < 300 else "done", flush=True)
            write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
    return {name: known[name] for name in rows}
