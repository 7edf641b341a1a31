"""Where the relative Fock solver is farther from its boundary than the plain one: samples by distance from the centre.

Run ``python -m studies.holomorphic.far_out`` after compare.py; writes far_out.json. Digits, thirds of the attacked
test samples by |x - mean|: median smallest perturbations of both, and the mean of the paired differences.
"""

from __future__ import annotations

import json

import numpy as np
from scipy.stats import spearmanr

from holomorph._utils.io import write_atomically
from studies.holomorphic.compare import split
from studies.kept import results

RESULTS = results("holomorphic")
PLAIN, RELATIVE = "Fock, complexification", "Fock relative, complexification, 27 settings"


def main() -> None:
    known = json.loads((RESULTS / "holomorphic.json").read_text())
    far, plain, relative = [], [], []
    for seed in range(5):
        keys = [f"digits | {label} | {seed}" for label in (PLAIN, RELATIVE)]
        if not all(key in known for key in keys):
            continue
        x, held, _, _ = split("digits", seed)
        a, b = (known[key]["sizes"] for key in keys)
        far += np.linalg.norm(held[: len(a)] - x.mean(0), axis=1).tolist()
        plain += a
        relative += b
    r, a, b = np.array(far), np.array(plain), np.array(relative)
    right = (a > 0) & (b > 0)
    third = np.digitize(r, np.quantile(r, [1 / 3, 2 / 3]))
    thirds = [
        {
            "distance from the centre": float(r[third == k].mean()),
            "plain": float(np.median(a[third == k])),
            "relative": float(np.median(b[third == k])),
            "gain": float((b - a)[right & (third == k)].mean()),
        }
        for k in range(3)
    ]
    found = {"samples": len(r), "thirds": thirds, "spearman": float(spearmanr(r[right], (b - a)[right]).statistic)}
    write_atomically(RESULTS / "far_out.json", (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
