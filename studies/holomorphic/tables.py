"""The tables of compare.py: one a data set, and what the targets compare. All from holomorphic.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

Rows = dict[str, list[dict[str, Any]]]
RADII = (0.2, 0.4)
DATA = ("digits", "wine", "breast cancer", "line", "moons", "blobs", "circles", "spirals")
SEPARABLE = ("line", "moons", "blobs")
FARTHEST = ", farthest"  #: rows of the second reading of target (b), not in the tables of the data sets
SLACK = 1.0  #: percentage points of accuracy that a method may lack to count among the accurate ones


def markdown(known: dict[str, Any]) -> str:
    """All tables."""
    rows: dict[str, Rows] = {name: {} for name in DATA}
    for key, found in known.items():
        name, method, *seed = key.split(" | ")
        if seed:
            rows[name].setdefault(method, []).append(found)
    usual = {name: {m: found for m, found in rows[name].items() if not m.endswith(FARTHEST)} for name in DATA}
    parts = [f"**{name}**\n\n{_table(usual[name])}" for name in DATA if rows[name]]
    return "\n".join([*parts, _separable(rows), _digits(rows["digits"])])


def medians(found: list[dict[str, Any]], what: str = "sizes") -> list[float]:
    """Of each split; of angles, where the boundary came near the curve."""
    return [float(np.median(f[what])) for f in found if len(f.get(what, ()))]


def _table(rows: Rows) -> str:
    plane = any("angles" in found[0] for found in rows.values())
    header = ["method", "splits", "clean %", *(f"% right at {r}" for r in RADII), "median l_2 (of the splits)"]
    header += [f"certified % at {RADII[0]}", "median certified", "fit s", "predict ms"]
    header += ["median angle (of each split)"] * plane
    lines = [_line(header), "|" + "---|" * len(header)]
    for method, found in rows.items():
        sizes = np.concatenate([f["sizes"] for f in found])
        clean = np.array([100 * f["clean"] for f in found])
        cells = [method, str(len(found)), f"{clean.mean():.1f} ± {clean.std():.1f}"]
        cells += [f"{100 * (sizes > r).mean():.0f}" for r in RADII]
        cells += [_spread(medians(found)), *_certified(found)]
        cells += [f"{np.median([f['fit_seconds'] for f in found]):.2f}"]
        cells += [f"{1000 * np.median([f['predict_seconds'] for f in found]):.0f}"]
        cells += [_angles(found)] * plane
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _certified(found: list[dict[str, Any]]) -> list[str]:
    if "certified" not in found[0]:
        return ["", ""]
    radii = np.concatenate([f["certified"] for f in found])
    if any(f["violations"] for f in found):
        raise ValueError("A certificate was violated: this is an error of the program, not a figure.")
    return [f"{100 * (radii > RADII[0]).mean():.0f}", f"{np.mean(medians(found, 'certified')):.3f}"]


def _angles(found: list[dict[str, Any]]) -> str:
    each = medians(found, "angles")
    return f"{np.median(each):.0f} ({', '.join(f'{a:.0f}' for a in each)})" if each else "none near"


def _separable(rows: dict[str, Rows]) -> str:
    """The holomorphic rule under pairing against the plain network and against the best of all.

    Three readings: of all methods, of those within SLACK of the best accuracy, and with every method at its setting of
    the largest median.
    """
    header = ["data", "angle: holomorphic, plain", "splits nearer to 90", "median l_2", "best of all", "ratio"]
    header += ["best of the accurate", "ratio", "tuned for distance alone", "best of all so tuned", "ratio"]
    lines = [_line(header), "|" + "---|" * len(header)]
    for name in SEPARABLE:
        ours, plain = rows[name].get("holomorphic network, pairing"), rows[name].get("network, plain")
        if not ours or not plain:
            continue
        bends = [medians(found, "angles") for found in (ours, plain)]
        wins = sum(a > b for a, b in zip(*bends, strict=False))
        own = float(np.mean(medians(ours)))
        usual = [m for m in rows[name] if not m.endswith(FARTHEST)]
        clean = {m: 100 * np.mean([f["clean"] for f in rows[name][m]]) for m in usual}
        accurate = [m for m in usual if max(clean.values()) - clean[m] <= SLACK]
        cells = [name, " against ".join(f"{np.median(b):.0f}" for b in bends), f"{wins} of {len(bends[0])}"]
        cells.append(f"{own:.3f}")
        for methods in (usual, accurate):
            best = max(methods, key=lambda m: np.mean(medians(rows[name][m])))
            cells += [f"{best}, {_size_at(rows[name][best])}", f"{own / np.mean(medians(rows[name][best])):.2f}"]
        far = {m.removesuffix(FARTHEST): found for m, found in rows[name].items() if m.endswith(FARTHEST)}
        if "holomorphic network, pairing" in far:
            ours = far["holomorphic network, pairing"]
            best = max(far, key=lambda m: np.mean(medians(far[m])))
            ratio = np.mean(medians(ours)) / np.mean(medians(far[best]))
            cells += [_size_at(ours), f"{best}, {_size_at(far[best])}", f"{ratio:.2f}"]
        else:
            cells += [""] * 3
        lines.append(_line(cells))
    return "**Target (b)**: separable sets\n\n" + "\n".join(lines) + "\n"


def _size_at(found: list[dict[str, Any]]) -> str:
    return f"{np.mean(medians(found)):.3f} at {100 * np.mean([f['clean'] for f in found]):.1f} %"


def _digits(rows: Rows) -> str:
    """On the same splits: the Fock solvers against the kernel machines that were tuned alike."""
    header = ["digits", "against", "clean, points (mean of the splits ± standard error)"]
    lines = [_line([*header, "median l_2, difference of each split", "mean of the paired differences"])]
    lines.append("|---|---|---|---|---|")
    for ours in (m for m in rows if m.startswith("Fock") and "complexification" in m):
        for rival in (m for m in rows if "RBF," in m and _tuned(m) == _tuned(ours)):
            pairs = list(zip(rows[ours], rows[rival], strict=False))
            each = [np.median(a["sizes"]) - np.median(b["sizes"]) for a, b in pairs]
            paired = np.concatenate([np.subtract(a["sizes"], b["sizes"]) for a, b in pairs])
            half = 1.96 * paired.std() / np.sqrt(len(paired))
            shown = ", ".join(f"{d:+.3f}" for d in each)
            clean = np.array([100 * (a["clean"] - b["clean"]) for a, b in pairs])
            error = clean.std(ddof=1) / np.sqrt(len(clean)) if len(clean) > 1 else np.nan
            points = f"{clean.mean():+.2f} ± {error:.2f}"
            lines.append(_line([ours, rival, points, shown, f"{paired.mean():+.3f} ± {half:.3f}"]))
    return "**Target (a)**: digits\n\n" + "\n".join(lines) + "\n"


def _tuned(method: str) -> str:
    """How a method was tuned, by its name; what is to be as far as the RBF machines is compared with their choice."""
    found = re.search(r", \d+ settings.*?(?=$|, as far as RBF)", method)
    return found.group() if found else ""


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
