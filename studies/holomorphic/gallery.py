"""The gallery of ``holomorph geometry`` for five seeds: median angles of every model, and the time that it takes.

Run ``python -m studies.holomorphic.gallery``; kept in gallery.json and not measured again; writes gallery.md.
CPU seconds are those of the whole command, importing and drawing included.

Blobs have no curve of their own: the gallery measures against spokes from the origin to the three centres, between
which any fair boundary makes 60 degrees. Here they are measured once more, tuned as in compare.py, against the
sides of the triangle of the centres, which the exact bisectors cross at right angles.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from holomorph._utils.io import write_atomically
from holomorph.records.geometry import GeometryRecord
from holomorph.research.geometry import crossing_angles, decision_boundary
from holomorph.research.planar import NAMES, planar
from studies.holomorphic.compare import split
from studies.holomorphic.rivals import networks
from studies.kept import results

RESULTS = results("holomorphic")
SEEDS = 5
BLOBS = ("network, plain", "network, Dirichlet", "network, PGD", "holomorphic network, pairing")


def gallery(seed: int) -> dict[str, Any]:
    """Run the command; medians by data set and model."""
    command = [sys.executable, "-c", "from holomorph.cli import main; main()", "geometry", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, "--seed", str(seed), "--out", folder], check=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        record = GeometryRecord.load(Path(folder) / "geometry.json")
    rows = {
        result.data: {
            model.name: {"angle": model.median_angle, "accuracy": model.accuracy, "points": len(model.angles)}
            for model in result.models
        }
        for result in record.results
    }
    return {"cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "results": rows}


def sides() -> tuple[Tensor, Tensor, Tensor]:
    """The triangle of the blobs' centres: points of its sides, tangents, and the centres."""
    data = planar("blobs", 3)
    centres = data.curve.reshape(3, -1, 2)[:, -1]
    share = torch.linspace(0, 1, 400, dtype=torch.float64)[:, None]
    points, tangents = [], []
    for k in range(3):
        way = centres[(k + 1) % 3] - centres[k]
        points.append(centres[k] + share * way)
        tangents.append((way / way.norm()).expand(400, 2))
    return torch.cat(points), torch.cat(tangents), centres


def blobs(tuned: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Median angles of each split, to the spokes and to the sides; first those of the exact bisectors."""
    curve, tangent, centres = sides()
    spokes = planar("blobs", 3)

    def medians(model: Any) -> tuple[float, float]:
        bends = decision_boundary(model, (-3.52, 3.52), 129)
        return tuple(
            float(crossing_angles(bends, *where).median())
            for where in ((spokes.curve, spokes.tangent), (curve, tangent))
        )

    exact = medians(lambda x: 2 * x @ centres.mT)  # the nearest centre; all have one length
    found = {"exact bisectors": {"spokes": [exact[0]], "sides": [exact[1]]}}
    for label in BLOBS:
        pairs = []
        for seed in range(SEEDS):
            x, _, y, _ = split("blobs", seed)
            pairs.append(medians(networks(True)[label].fit(x, y, seed, **tuned[f"blobs | {label}"]["chosen"])))
        found[label] = {"spokes": [p[0] for p in pairs], "sides": [p[1] for p in pairs]}
    return found


def table(known: dict[str, Any]) -> str:
    """Medians of the seeds' medians, and each."""
    seeds = sorted(key for key in known if key.startswith("seed"))
    models = list(known[seeds[0]]["results"]["line"])
    lines = [f"| data | {' | '.join(models)} |", "|---|" + "---|" * len(models)]
    for name in NAMES:
        cells = []
        for model in models:
            rows = [known[seed]["results"][name][model] for seed in seeds]
            near = [row["angle"] for row in rows if row["angle"] is not None]
            clean = 100 * np.mean([row["accuracy"] for row in rows])
            each = ", ".join(f"{a:.0f}" for a in near)
            cells.append((f"{np.median(near):.0f} ({each})" if near else "none near") + f"; {clean:.1f} %")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cpu = [known[seed]["cpu_seconds"] for seed in seeds]
    lines += ["", f"CPU seconds of the command: {min(cpu):.0f} to {max(cpu):.0f} ({len(cpu)} runs).", ""]
    lines += ["| blobs | to the spokes | to the sides of the triangle |", "|---|---|---|"]
    for label, found in known.get("blobs", {}).items():
        shown = [f"{np.median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in (found["spokes"], found["sides"])]
        lines.append(f"| {label} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=SEEDS + 1, help="stop after so many new ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "gallery.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    tuned = json.loads((RESULTS / "holomorphic.json").read_text())
    missing = [f"seed {k}" for k in range(SEEDS)] + ["blobs"]
    for key in [key for key in missing if key not in known][: options.runs]:
        known[key] = blobs(tuned) if key == "blobs" else gallery(int(key.split()[1]))
        write_atomically(path, json.dumps(known, indent=0).encode())
        write_atomically(RESULTS / "gallery.md", table(known).encode())


if __name__ == "__main__":
    main()
