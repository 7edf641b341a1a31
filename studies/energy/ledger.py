"""What was found of each training, in a JSON file that several processes add to."""

from __future__ import annotations

import base64
import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from holomorph._utils.statistics import proportion_interval
from holomorph._utils.versions import versions
from studies.kept import RUNS, save

Facts = dict[str, Any]


@dataclass(frozen=True)
class Ledger:
    """Rows by name; every addition reads the file, changes it and writes it, while nobody else does."""

    path: Path

    @property
    def rows(self) -> dict[str, Facts]:
        """What is known now."""
        rows: dict[str, Facts] = json.loads(self.path.read_text())["rows"] if self.path.exists() else {}
        return rows

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        RUNS.mkdir(parents=True, exist_ok=True)
        with (RUNS / f"{self.path.stem}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {"rows": {}}
            found["versions"] = versions("numpy", "pyautoattack")
            yield found
            save(self.path, found)

    def keep(self, name: str, facts: Facts) -> None:
        """Add what was found of one training."""
        with self._changing() as found:
            found["rows"].setdefault(name, {}).update(facts)
        shown = {k: v["robust"] if isinstance(v, dict) and "robust" in v else v for k, v in facts.items()}
        print(name, {k: v for k, v in shown.items() if isinstance(v, int | float)}, flush=True)

    def account(self, name: str, key: str, alive: Tensor) -> None:
        """Keep a robust accuracy with its interval, and who survived, for paired comparisons."""
        interval, share = proportion_interval(int(alive.sum()), len(alive)), float(alive.float().mean())
        bits = base64.b64encode(np.packbits(alive.numpy())).decode()
        facts = {"robust": share, "interval": [interval.low, interval.high], "samples": len(alive), "alive": bits}
        self.keep(name, {key: facts})


def survivors(facts: Facts, threats: list[str], attacks: str = "apgd") -> np.ndarray:
    """Which samples were fooled under none of the threats: by APGD, or by it and then Square."""
    kept = [facts[f"{attacks} {threat}"] for threat in threats]
    bits = [np.unpackbits(np.frombuffer(base64.b64decode(one["alive"]), np.uint8)) for one in kept]
    count = min(one["samples"] for one in kept)
    return np.logical_and.reduce([one[:count].astype(bool) for one in bits])


def seeds(rows: dict[str, Facts], label: str, threats: list[str], attacks: str = "apgd") -> dict[int, Facts]:
    """The seeds of a training that were attacked under all the threats."""
    named = {seed: rows.get(f"{label}, seed {seed}", {}) for seed in range(10)}
    return {seed: facts for seed, facts in named.items() if all(f"{attacks} {threat}" in facts for threat in threats)}
