"""Holomorphic hypotheses against kernels and real networks: accuracy, smallest perturbations, certificates.

Run ``python benchmarks/holomorphic.py [--only digits planar tables energy]``; what was measured is kept in
results/holomorphic.json and not measured again. Writes results/holomorphic.md.

Smallest l_2 perturbations: on images and tables the lesser of DDN and FMN (foolbox, 60 steps each) on the first
100 test samples; in the plane a search along 72 directions. Samples that are wrong from the start count as 0.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import LabelBinarizer, StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from holomorph.data.planar import NAMES, planar
from holomorph.evaluation.foolbox import FoolboxAttack
from holomorph.evaluation.subject import Subject
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier
from holomorph.types import ThreatModel

RESULTS = Path(__file__).parent / "results"
SEEDS, ATTACKED = 5, 100
Fitted = tuple[nn.Module, Any]


class KernelScores(nn.Module):
    """sum_i a_i exp(-gamma |x - x_i|^2) + b: SVC and kernel ridge regression as torch modules."""

    def __init__(self, points: np.ndarray, coefficients: np.ndarray, bias: np.ndarray, gamma: float) -> None:
        super().__init__()
        self.points, self.coefficients = torch.as_tensor(points), torch.as_tensor(coefficients)
        self.bias, self.gamma = torch.as_tensor(bias), gamma

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        square = x.square().sum(1)[:, None] + self.points.square().sum(1) - 2 * x @ self.points.mT
        scores = torch.exp(-self.gamma * square) @ self.coefficients + self.bias
        return torch.cat([-scores, scores], 1) if scores.shape[1] == 1 else scores


def rbf_svc(x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
    """One machine a class, so that its scores can be written down; C and gamma by cross-validation."""
    grid = {"C": [1.0, 10.0, 100.0], "gamma": [g / spread(x) for g in (0.25, 1.0, 4.0)]}
    best = GridSearchCV(SVC(), grid, cv=3).fit(x, y).best_params_
    columns, biases = [], []
    for labels in LabelBinarizer().fit_transform(y).T:
        machine = SVC(**best).fit(x, labels)
        column = np.zeros(len(x))
        column[machine.support_] = machine.dual_coef_[0]
        columns.append(column)
        biases.append(machine.intercept_[0])
    return KernelScores(x, np.stack(columns, 1), np.array(biases), best["gamma"]), best


def rbf_ridge(x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
    codes = 2.0 * LabelBinarizer().fit_transform(y) - 1.0
    grid = {"alpha": [1e-3, 1e-2, 1e-1], "gamma": [g / spread(x) for g in (0.25, 1.0, 4.0)]}

    def accuracy(machine: KernelRidge, inputs: np.ndarray, wanted: np.ndarray) -> float:
        found = machine.predict(inputs)
        right = found.argmax(1) == wanted.argmax(1) if wanted.shape[1] > 1 else np.sign(found) == wanted
        return float(np.mean(right))

    search = GridSearchCV(KernelRidge(kernel="rbf"), grid, cv=3, scoring=accuracy).fit(x, codes)
    machine = search.best_estimator_
    return KernelScores(x, machine.dual_coef_, np.zeros(codes.shape[1]), machine.gamma), search.best_params_


def logistic(x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
    machine = GridSearchCV(LogisticRegression(max_iter=2000), {"C": [0.1, 1.0, 10.0]}, cv=3).fit(x, y)
    best = machine.best_estimator_
    layer = nn.Linear(x.shape[1], len(best.classes_)).double()
    weight, bias = best.coef_, best.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight.data, layer.bias.data = torch.as_tensor(weight), torch.as_tensor(bias)
    return layer, machine.best_params_


def exact(grid: dict[str, list[Any]], **fixed: Any) -> Callable[..., Fitted]:
    def fit(x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        search = GridSearchCV(HolomorphicClassifier(random_state=seed, **fixed), grid, cv=3).fit(x, y)
        return search.best_estimator_.model_, search.best_params_

    return fit


def network(make: Callable[..., Any], **settings: Any) -> Callable[..., Fitted]:
    def fit(x: np.ndarray, y: np.ndarray, seed: int) -> Fitted:
        return make(random_state=seed, **settings).fit(x, y).model_, {}

    return fit


def spread(x: np.ndarray) -> float:
    return float(((x - x.mean(0)) ** 2).sum(1).mean())


FOCK = {"ridge": [3e-5, 1e-4, 3e-4], "weight": [2.0, 8.0, 32.0]}
POLY = {"degree": [2, 3, 5], "ridge": [1e-5, 1e-4, 1e-3]}

KERNELS: dict[str, Callable[..., Fitted]] = {
    "Fock, complexification": exact(FOCK),
    "Fock, pairing": exact(FOCK, embedding="pairing"),
    "SVC, RBF": rbf_svc,
    "kernel ridge, RBF": rbf_ridge,
    "logistic regression": logistic,
}
PLANE = KERNELS | {
    "polynomial, complexification": exact(POLY, solver="polynomial"),
    "polynomial, pairing": exact(POLY, solver="polynomial", embedding="pairing"),
    "holomorphic network": lambda x, y, seed: holomorphic_network(x, y, seed, "codes"),
    "holomorphic network, |h|^2": lambda x, y, seed: holomorphic_network(x, y, seed, "modulus"),
    "network, plain": network(RobustClassifier, rule="plain", eps=0.2, norm=2, width=32, epochs=60),
    "network, PGD": network(RobustClassifier, rule="pgd(steps=5)", eps=0.2, norm=2, width=32, epochs=60),
    "network, Dirichlet": network(RobustClassifier, rule="dirichlet", eps=0.2, norm=2, width=32, epochs=60),
}


def holomorphic_network(x: np.ndarray, y: np.ndarray, seed: int, readout: str) -> Fitted:
    from holomorph.nn.networks import HolomorphicMLP
    from holomorph.rules.holomorphic import Holomorphic
    from holomorph.training.fit import fit

    torch.manual_seed(seed)
    model = HolomorphicMLP((2,), int(y.max()) + 1, width=16, readout=readout).double()
    rule = Holomorphic(ThreatModel(2, 0.2, (-4.0, 4.0)), weight=0.1, risk_of="logits", seed=seed)
    fit(model, (torch.as_tensor(x), torch.as_tensor(y)), rule, epochs=60, batch_size=32, lr=2e-2, seed=seed)
    return model.eval(), {}


def measure(fit: Callable[..., Fitted], data: tuple[np.ndarray, ...], seed: int) -> dict[str, Any]:
    """One method on one split."""
    x_train, x_test, y_train, y_test = data
    model, chosen = fit(x_train, y_train, seed)
    begin = time.perf_counter()
    if isinstance(chosen, dict) and chosen and hasattr(model, "solver"):  # fit time without the search
        again = HolomorphicClassifier(
            "fock" if hasattr(model.solver, "landmarks") else "polynomial",
            embedding={"Complexification": "complexification"}.get(type(model.embedding).__name__, "pairing"),
            **{"weight": model.solver.weight} | chosen,
        )
        again.fit(x_train, y_train)
    fitting = time.perf_counter() - begin
    x, y = torch.as_tensor(x_test), torch.as_tensor(y_test)
    begin = time.perf_counter()
    with torch.no_grad():
        right = model(x).argmax(1) == y
    predicting = time.perf_counter() - begin
    sizes = (planar_distance if x.shape[1] == 2 else attacked_distance)(model, x[:ATTACKED], y[:ATTACKED])
    found = {
        "clean": float(right.double().mean()),
        "sizes": [round(v, 5) for v in sizes.tolist()],
        "fit_seconds": fitting,
        "predict_seconds": predicting,
        "chosen": chosen,
    }
    if hasattr(model, "certified_radius"):
        found["certified"] = [round(v, 5) for v in (model.certified_radius(x) * right)[:ATTACKED].tolist()]
    return found


def attacked_distance(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The smallest l_2 perturbation that DDN or FMN found; 0 where wrong from the start."""
    threat = ThreatModel(2, 1.0, (math.floor(float(x.min())), math.ceil(float(x.max()))))
    best = torch.full((len(x),), math.inf, dtype=torch.float64)
    for name in ("ddn", "fmn"):
        found = FoolboxAttack(name, threat, steps=60)(Subject(model), x, y, seed=0).double()
        with torch.no_grad():
            success = model(found).argmax(1) != y
        best = torch.where(success, torch.minimum(best, (found - x).norm(dim=1)), best)
    with torch.no_grad():
        return torch.where(model(x).argmax(1) == y, best, 0.0)


def planar_distance(model: nn.Module, x: Tensor, y: Tensor, reach: float = 2.0) -> Tensor:
    """Distance to the nearest point of another answer, along 72 directions in steps of reach/200."""
    angle = torch.arange(72, dtype=torch.float64) * (math.pi / 36)
    rays = torch.stack([angle.cos(), angle.sin()], 1)
    best = torch.full((len(x),), reach, dtype=torch.float64)
    with torch.no_grad():
        for r in torch.linspace(0, reach, 201, dtype=torch.float64):
            open_ = (best >= reach).nonzero()[:, 0]
            if len(open_) == 0:
                break
            points = (x[open_, None] + r * rays).flatten(0, 1)
            wrong = (model(points).argmax(1).reshape(-1, 72) != y[open_, None]).any(1)
            best[open_[wrong]] = r
    return best


def splits(name: str, seed: int) -> tuple[np.ndarray, ...]:
    if name in NAMES:
        data = planar(name, 300, seed=seed)
        return train_test_split(data.x.numpy(), data.y.numpy(), test_size=0.3, random_state=seed, stratify=data.y)
    loaded = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}[name]
    X, y = loaded(return_X_y=True)
    parts = train_test_split(X / (16.0 if name == "digits" else 1.0), y, test_size=0.3, random_state=seed, stratify=y)
    if name != "digits":
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = [scaler.transform(part) for part in parts[:2]]
    return tuple(parts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=["digits", "planar", "energy", "tables"])
    parts = parser.parse_args().only
    torch.set_num_threads(1)
    units: list[tuple[str, str, int, Callable[..., Fitted]]] = []
    for seed in range(SEEDS):
        for part, names, methods in (
            ("digits", ("digits",), KERNELS),
            ("tables", ("wine", "breast cancer"), KERNELS),
            ("planar", NAMES, PLANE),
        ):
            if part in parts:
                units += [(name, method, seed, fit) for name in names for method, fit in methods.items()]
        if "energy" in parts and seed < 2:
            for weight in (0.0, 0.5, 2.0, 8.0, 32.0):
                fit = exact({"ridge": [1e-4]}, weight=weight)
                units.append(("digits", f"Fock, weight {weight:g}", seed, fit))
    path = RESULTS / "holomorphic.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    for name, method, seed, fit in units:
        key = f"{name} | {method} | {seed}"
        if key not in known:
            known[key] = measure(fit, splits(name, seed), seed)
            path.write_text(json.dumps(known, indent=0))
            (RESULTS / "holomorphic.md").write_text(table(known))
            print(key, round(known[key]["clean"], 4), flush=True)


def table(known: dict[str, Any]) -> str:
    """Medians and means over the seeds, one row a data set and method."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, found in known.items():
        name, method, _ = key.split(" | ")
        rows.setdefault((name, method), []).append(found)
    lines = [
        "| data | method | seeds | clean % | % at 0.2 | % at 0.4 | median l_2 | certified % at 0.2 | "
        "median certified | fit s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, written), found in sorted(rows.items()):
        method = written.replace("|", r"\|")
        sizes = np.concatenate([f["sizes"] for f in found])
        certified = np.concatenate([f.get("certified", []) for f in found])
        sure = [f"{100 * (certified > 0.2).mean():.1f}", f"{np.median(certified):.3f}"] if len(certified) else ["", ""]
        fitting = f"{np.median([f['fit_seconds'] for f in found]):.2f}" if len(certified) else ""
        clean = np.array([100 * f["clean"] for f in found])
        at = [f"{100 * (sizes > radius).mean():.1f}" for radius in (0.2, 0.4)]
        accuracy = f"{clean.mean():.1f} ± {clean.std():.1f}"
        cells = [name, method, str(len(found)), accuracy, *at, f"{np.median(sizes):.3f}", *sure, fitting]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
