"""Small and tabular data, one default for all: accuracy and the smallest l_inf perturbation under cross-validation.

    python -m studies.energy.tabular
    python -m studies.energy.tabular --rules finite@median    # eps is what plain training withstands already, see below

Features are standardised by the training folds (the digits lie in [0, 1] as they are). Nothing is tuned: eps is the
only setting given, the same for all tables; "@median" after a rule takes for it the median smallest perturbation of
plain training on the same folds, which asks whether a rule can go beyond what is there. The smallest perturbation is
the least that FMN finds in 100 steps; 0 where the answer is wrong from the start.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_wine,
    make_blobs,
    make_circles,
    make_classification,
    make_gaussian_quantiles,
    make_moons,
)
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.contract.classifier import Classifier
from holomorph.sklearn import RobustClassifier
from holomorph.threats import ThreatModel
from studies.common import RESULTS

FOLDS, HELD = 5, 100
EPS = {"digits": 0.1}  # in grey levels of [0, 1]; elsewhere in deviations of a feature
DEFAULT_EPS = 0.2

Arrays = tuple[np.ndarray, np.ndarray]


def tables() -> dict[str, Arrays]:
    """Every data set, the generated ones with 600 samples."""
    X, y = load_digits(return_X_y=True)
    seeded: dict[str, Any] = {"n_samples": 600, "random_state": 0}
    return {
        "digits": (X / 16, y),
        "breast cancer": load_breast_cancer(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "classification": make_classification(n_features=20, n_informative=6, n_classes=3, **seeded),
        "quantiles": make_gaussian_quantiles(n_features=6, n_classes=3, **seeded),
        "blobs": make_blobs(centers=5, n_features=8, cluster_std=4.0, **seeded),
        "moons": make_moons(noise=0.2, **seeded),
        "circles": make_circles(noise=0.08, factor=0.5, **seeded),
    }


def smallest(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The smallest l_inf perturbation found; 0 where wrong from the start, infinite where none was found."""
    threat = ThreatModel("inf", 0.1, (math.floor(float(x.min())) - 1.0, math.ceil(float(x.max())) + 1.0))
    found = FoolboxAttack("fmn", threat, steps=100)(Classifier(model), x, y, seed=0).double()
    with torch.no_grad():
        fooled, right = model(found).argmax(1) != y, model(x).argmax(1) == y
    sizes = torch.where(fooled, (found - x).abs().amax(1), torch.inf)
    return torch.where(right, sizes, 0.0)


def median(row: dict[str, Any]) -> float:
    """Of a fold's smallest perturbations, over the right answers."""
    return float(np.median([size for size in row["sizes"] if size > 0]))


def asked(name: str, rule: str, folds: dict[str, list[dict[str, Any]]]) -> float:
    """The radius given to a rule."""
    if rule.endswith("@median"):
        return float(np.median([median(row) for row in folds["plain"]]))
    return EPS.get(name, DEFAULT_EPS)


def fold(
    name: str, rule: str, eps: float, data: Arrays, train: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, Any]:
    """One fit on one fold."""
    X, y = data
    x_train, x_test = X[train], X[test]
    if name not in EPS:
        scaler = StandardScaler().fit(x_train)
        x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    begin = time.process_time()
    classifier = RobustClassifier(rule.removesuffix("@median"), eps=eps, eps_unit="feature", random_state=seed).fit(
        x_train, y[train]
    )
    seconds = time.process_time() - begin
    sizes = smallest(classifier.model_, torch.as_tensor(x_test[:HELD]), torch.as_tensor(y[test][:HELD]))
    return {
        "clean": float(classifier.score(x_test, y[test])),
        "sizes": [round(v, 5) for v in sizes.tolist()],
        "seconds": round(seconds, 2),
        "eps": round(eps, 4),
    }


def summary(folds: dict[str, list[dict[str, Any]]], rule: str, baseline: str = "plain") -> dict[str, float]:
    """Against plain training on the same folds, of which a rule may have fewer."""
    folds = {key: folds[key][: len(folds[rule])] for key in (rule, baseline)}
    clean = np.array([row["clean"] for row in folds[rule]]) - np.array([row["clean"] for row in folds[baseline]])
    medians = {key: np.array([median(row) for row in folds[key]]) for key in (rule, baseline)}
    ratio = medians[rule] / medians[baseline]
    return {
        "clean": float(np.mean([row["clean"] for row in folds[rule]])),
        "clean minus plain": float(clean.mean()),
        "standard error": float(clean.std(ddof=1) / math.sqrt(len(clean))),
        "median perturbation": float(np.median(medians[rule])),
        "times plain": float(np.median(ratio)),
        "seconds": float(np.median([row["seconds"] for row in folds[rule]])),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", nargs="+", default=["plain", "finite", "nfgsm", "pgd"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="data sets; all by default")
    wanted = parser.parse_args()
    path = RESULTS / "tabular.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"command": "", "folds": {}}
    known |= {"command": "python -m studies.energy.tabular", "versions": versions("numpy", "scikit-learn", "foolbox")}
    for name, data in tables().items():
        if wanted.only and name not in wanted.only:
            continue
        folds = known["folds"].setdefault(name, {})
        splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=wanted.repeats, random_state=0)
        for rule in wanted.rules:
            rows = folds.setdefault(rule, [])
            for k, (train, test) in enumerate(splits.split(*data)):
                if k >= len(rows):
                    rows.append(fold(name, rule, asked(name, rule, folds), data, train, test, seed=k))
                    write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
            if len(folds.get("plain", [])) >= len(rows):
                known.setdefault("summary", {}).setdefault(name, {})[rule] = summary(folds, rule)
                found = {key: round(value, 3) for key, value in known["summary"][name][rule].items()}
                print(name, rule, found, flush=True)
        write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
