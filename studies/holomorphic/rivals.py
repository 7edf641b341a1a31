"""The methods of compare.py: each a function from data and settings to a torch module, with settings to try.

Machines with a closed form or a convex problem have nine, networks three: their fits cost a hundred times as much. On
digits the three best kernel machines are tuned once more, over 27 settings each, and again over 36 in ten folds.
Kernel machines vary their regulariser and their shape by the same factors; where the exact solvers have three
parameters, nine of the 27 settings are tried in which each value meets each value of the others once (a Latin square).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import LabelBinarizer
from sklearn.svm import SVC
from torch import Tensor, nn

from holomorph.nn.networks import HolomorphicMLP
from holomorph.rules.holomorphic import Holomorphic
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit

Settings = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """How to fit, and what to try."""

    fit: Callable[..., nn.Module]
    settings: Sequence[Settings]


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


def svc(x: np.ndarray, y: np.ndarray, seed: int, *, C: float, shape: float) -> nn.Module:
    """One machine a class, so that its scores can be written down."""
    gamma = shape / spread(x)
    columns, biases = [], []
    for labels in LabelBinarizer().fit_transform(y).T:
        machine = SVC(C=C, gamma=gamma).fit(x, labels)
        column = np.zeros(len(x))
        column[machine.support_] = machine.dual_coef_[0]
        columns.append(column)
        biases.append(machine.intercept_[0])
    return KernelScores(x, np.stack(columns, 1), np.array(biases), gamma)


def ridge(x: np.ndarray, y: np.ndarray, seed: int, *, ridge: float, shape: float) -> nn.Module:
    codes = 2.0 * LabelBinarizer().fit_transform(y) - 1.0
    machine = KernelRidge(alpha=len(x) * ridge, kernel="rbf", gamma=shape / spread(x)).fit(x, codes)
    return KernelScores(x, machine.dual_coef_, np.zeros(codes.shape[1]), machine.gamma)


def logistic(x: np.ndarray, y: np.ndarray, seed: int, *, C: float) -> nn.Module:
    machine = LogisticRegression(C=C, max_iter=2000).fit(x, y)
    layer = nn.Linear(x.shape[1], len(machine.classes_)).double()
    weight, bias = machine.coef_, machine.intercept_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight.data, layer.bias.data = torch.as_tensor(weight), torch.as_tensor(bias)
    return layer


def exact(solver: str, embedding: str, **fixed: Any) -> Callable[..., nn.Module]:
    def fitted(x: np.ndarray, y: np.ndarray, seed: int, **settings: Any) -> nn.Module:
        machine = HolomorphicClassifier(solver, embedding=embedding, random_state=seed, **fixed, **settings)  # type: ignore[arg-type]
        return machine.fit(x, y).model_

    return fitted


def real_network(rule: str) -> Callable[..., nn.Module]:
    """A real MLP; ``rule`` is written with its tuned values in braces."""

    def fitted(x: np.ndarray, y: np.ndarray, seed: int, **settings: Any) -> nn.Module:
        lr, eps = settings.pop("lr"), settings.pop("eps", RADIUS)
        text = rule.format(**settings)
        machine = RobustClassifier(
            text,
            eps=eps,
            eps_unit="feature",
            norm=2,
            width=32,
            lr=lr,
            random_state=seed,
            box=box(x, eps),
            **schedule(x),
        )
        return machine.fit(x, y).model_

    return fitted


def holomorphic_network(embedding: str, readout: str = "codes") -> Callable[..., nn.Module]:
    """The holomorphic rule; in the plane 1,192 real parameters paired, 1,236 complexified; real networks have 1,218."""

    def fitted(x: np.ndarray, y: np.ndarray, seed: int, *, weight: float, lr: float) -> nn.Module:
        torch.manual_seed(seed)
        size = float(np.sqrt(((x - x.mean(0)) ** 2).mean()))
        body = HolomorphicMLP((x.shape[1],), int(y.max()) + 1, width=22, embedding=embedding, readout=readout)
        body = body.double()
        inputs = torch.as_tensor((x - x.mean(0)) / size)
        threat = ThreatModel(2, RADIUS / size, box(inputs.numpy(), RADIUS / size))
        rule = Holomorphic(threat, weight=weight, risk_of="logits", seed=seed)
        fit(body, (inputs, torch.as_tensor(y)), rule, lr=lr, seed=seed, **schedule(x))
        return Standardised(body.eval(), x.mean(0), size)

    return fitted


class Standardised(nn.Module):
    """A network behind a shift and a scale."""

    def __init__(self, body: nn.Module, centre: np.ndarray, size: float) -> None:
        super().__init__()
        self.body, self.centre, self.size = body, torch.as_tensor(centre), size

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.body((x - self.centre) / self.size)


RADIUS = 0.3  #: for which the penalties are scaled, in the units of the features


def schedule(x: np.ndarray) -> dict[str, int]:
    """Of all networks."""
    if x.shape[1] == 2:
        return {"epochs": 40, "batch_size": 70}
    return {"epochs": 30 if len(x) > 500 else 60, "batch_size": 128}


def box(x: np.ndarray, eps: float) -> tuple[float, float]:
    return math.floor(x.min() - eps), math.ceil(x.max() + eps)


def spread(x: np.ndarray) -> float:
    return float(((x - x.mean(0)) ** 2).sum(1).mean())


def grid(**values: Sequence[Any]) -> list[Settings]:
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def latin(**values: Sequence[Any]) -> list[Settings]:
    """Nine of the 27 settings of three parameters with three values each: every pair of values occurs once."""
    (a, first), (b, second), (c, third) = values.items()
    return [{a: first[i], b: second[j], c: third[(i + j) % 3]} for i in range(3) for j in range(3)]


RIDGES, ENERGIES = (1e-5, 1e-4, 1e-3), (0.5, 4.0, 32.0)
SHAPES = (0.25, 1.0, 4.0)  #: gamma times the mean square length; the Fock kernel's scale is 1/sqrt(2 shape)
SCALES = tuple(1 / math.sqrt(2 * shape) for shape in SHAPES)
RATE, WEIGHTS = 3e-2, (0.03, 0.3, 3.0)
FOCK = latin(ridge=RIDGES, scale=SCALES, weight=ENERGIES)
RELATIVE = latin(ridge=(1e-4, 1e-3, 1e-2), scale=SCALES, weight=(0.0, 0.5, 4.0))
ACCURATE, AS_FAR, FARTHEST = ", most accurate", ", as far as RBF", ", farthest"  #: other criteria, of the same search
NARROW = (2.0, 4.0, 8.0)  #: shapes, where 27 settings are tried
TENFOLD = "36 settings in ten folds"


def polynomial(plane: bool) -> list[Settings]:
    if plane:
        return latin(degree=(3, 6, 10), ridge=RIDGES, weight=(1e-3, 1e-2, 1e-1))
    return [{"degree": 2} | row for row in grid(ridge=RIDGES, weight=(1e-3, 1e-2, 1e-1))]


def machines(plane: bool) -> dict[str, Method]:
    """What has a closed form or a convex problem, by name."""
    return {
        "Fock, complexification": Method(exact("fock", "complexification"), FOCK),
        "SVC, RBF": Method(svc, grid(C=(1.0, 10.0, 100.0), shape=SHAPES)),
        "kernel ridge, RBF": Method(ridge, grid(ridge=RIDGES, shape=SHAPES)),
        "logistic regression": Method(logistic, grid(C=tuple(10.0**k for k in range(-4, 5)))),
        "Fock relative, complexification": Method(relative("complexification"), RELATIVE),
        "Fock relative, pairing": Method(relative("pairing"), RELATIVE),
        "Fock, pairing": Method(exact("fock", "pairing"), FOCK),
        "polynomial, complexification": Method(exact("polynomial", "complexification"), polynomial(plane)),
        "polynomial, pairing": Method(exact("polynomial", "pairing"), polynomial(plane)),
    }


def relative(embedding: str) -> Callable[..., nn.Module]:
    return exact("fock", embedding, relative=True, loss="squared-hinge")


def wider(plane: bool) -> dict[str, Method]:
    """The best kernel machines on digits with 27 settings each, around what nine had shown."""
    scales = [1 / math.sqrt(2 * shape) for shape in NARROW]
    tried = grid(ridge=(3e-4, 1e-3, 3e-3), scale=scales, weight=(0.0, 0.5, 4.0))
    powers = [10.0 ** (k / 2) for k in range(-2, 7)]
    return {
        "Fock relative, complexification, 27 settings": Method(relative("complexification"), tried),
        "SVC, RBF, 27 settings": Method(svc, grid(C=powers, shape=NARROW)),
        "kernel ridge, RBF, 27 settings": Method(ridge, grid(ridge=[1e-4 * c for c in powers], shape=NARROW)),
    }


def tenfold(plane: bool) -> dict[str, Method]:
    """The same once more with 36 settings each in ten folds.

    The Fock solver with values relative to a power, and with the grid of kernel ridge regression, the squared loss and
    relative values, with energy and without: the last is the Gaussian machine, with its certificate.
    """
    tried = grid(ridge=(1e-3, 3e-3, 1e-2, 3e-2), scale=[1 / math.sqrt(2 * s) for s in NARROW], relative=(0.5, 0.8, 0.9))
    powers, shapes = [10.0 ** (k / 2) for k in range(-2, 7)], (2.0, 4.0, 6.0, 8.0)
    ridges = [1e-4 * c for c in powers]
    alike = grid(ridge=ridges, scale=[1 / math.sqrt(2 * s) for s in shapes])
    return {
        f"SVC, RBF, {TENFOLD}": Method(svc, grid(C=powers, shape=shapes)),
        f"kernel ridge, RBF, {TENFOLD}": Method(ridge, grid(ridge=ridges, shape=shapes)),
        f"Fock relative, complexification, {TENFOLD}": Method(
            exact("fock", "complexification", weight=0.5, relative=True), alike
        ),
        f"Fock relative without energy, complexification, {TENFOLD}": Method(
            exact("fock", "complexification", weight=0.0, relative=True), alike
        ),
        f"Fock partly relative, complexification, {TENFOLD}": Method(
            exact("fock", "complexification", weight=0.5), tried
        ),
    }


def accurate(plane: bool) -> dict[str, Method]:
    """The same machines and settings, of which the most accurate is taken."""
    return {label + ACCURATE: method for label, method in (wider(plane) | tenfold(plane)).items()}


def as_far(plane: bool) -> dict[str, Method]:
    """Of the partly relative solver the most accurate setting that is at least as far as the RBF machines chosen."""
    return {label + AS_FAR: method for label, method in tenfold(plane).items() if "RBF" not in label}


def farthest(plane: bool) -> dict[str, Method]:
    """All methods, of each the setting with the largest median perturbation, however accurate."""
    return {label + FARTHEST: method for label, method in (machines(plane) | networks(plane)).items()}


def networks(plane: bool) -> dict[str, Method]:
    """By name; holomorphic ones with paired coordinates in the plane only, where all have the same size."""
    trained = grid(weight=WEIGHTS, lr=(RATE,))
    found = {
        "network, plain": Method(real_network("plain"), grid(lr=(1e-2, 3e-2, 1e-1))),
        "network, Dirichlet": Method(real_network("dirichlet(weight={weight})"), trained),
        "network, PGD": Method(real_network("pgd(steps=5)"), grid(eps=(0.1, 0.3, 0.9), lr=(RATE,))),
    }
    if plane:
        found["holomorphic network, pairing"] = Method(holomorphic_network("pairing"), trained)
        found["holomorphic network, squared moduli"] = Method(holomorphic_network("pairing", "modulus"), trained)
    slower = trained if plane else grid(weight=WEIGHTS, lr=(RATE / 3,))  # at the full rate it can diverge
    found["holomorphic network, complexification"] = Method(holomorphic_network("complexification"), slower)
    return found
