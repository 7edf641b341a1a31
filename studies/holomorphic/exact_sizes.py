"""What the layers and solvers cost where their method changes: Gauss's products, certificates, iteration, Nystroem.

Run ``python -m studies.holomorphic.exact_sizes``; writes exact_sizes.json. Seconds of CPU time, one thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from holomorph._utils.io import write_atomically
from holomorph._utils.versions import versions
from holomorph.exact import FockKernel, PolynomialHolomorphic
from holomorph.exact.certificate import certified_radius, degree_norms, through_codes
from holomorph.exact.monomials import count_monomials
from holomorph.nn.embedding import Complexification
from holomorph.nn.layers import gauss_linear
from holomorph.sklearn import HolomorphicClassifier
from studies.holomorphic.compare import split
from studies.kept import results

RESULTS = results("holomorphic")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    found = work()
    return time.process_time() - begin, found


def gauss(size: int, batch: int = 256, repeats: int = 5) -> dict[str, float]:
    """Milliseconds forward and backward of one square complex layer, float32; the least of some repeats, by turns."""
    z = torch.randn(batch, size, dtype=torch.complex64, requires_grad=True)
    real, imag = (torch.randn(size, size, requires_grad=True) for _ in range(2))
    ways = {
        "one complex product": lambda: F.linear(z, torch.complex(real, imag)),
        "gauss": lambda: gauss_linear(z, real, imag),
        "two real products (real weights)": lambda: torch.complex(F.linear(z.real, real), F.linear(z.imag, real)),
    }
    inner = max(1, 2**22 // size**2 // 4)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for name, way in ways.items():
            seconds, _ = timed(lambda way=way: [way().abs().square().sum().backward() for _ in range(inner)])
            best[name] = min(best[name], 1000 * seconds / inner)
    return {name: round(value, 3) for name, value in best.items()}


def iterative() -> dict[str, Any]:
    """More than 20,000 features: conjugate gradients."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(500, 50, generator=draws, dtype=torch.float64)
    y = torch.tanh(x[:, :1] * x[:, 1:2] + x[:, 2:3])
    h = PolynomialHolomorphic(3, 1e-3, 1e-2, max_bytes=2**33)
    seconds, _ = timed(lambda: h.fit(x, y))
    a = h.coefficients.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(h.objective(x, y, a), a)
    return {
        "features": count_monomials(50, 3),
        "samples": 500,
        "seconds": seconds,
        "gradient": float(gradient.abs().max()),
    }


def nystroem() -> dict[str, Any]:
    """More than 10,000 samples: 2,000 landmarks."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(12_000, 10, generator=draws, dtype=torch.float64)
    y = torch.sign(x[:, :1] * x[:, 1:2] + x[:, 2:3])
    h = FockKernel(0.5, 1e-5, 1.0)
    seconds, _ = timed(lambda: h.fit(x[:11_000], y[:11_000]))
    right = float((torch.sign(h(x[11_000:])) == y[11_000:]).double().mean())
    return {"samples": 11_000, "landmarks": len(h.points), "seconds": seconds, "accuracy": right}


def certificates() -> dict[str, Any]:
    """Median certified l_2 radius of 539 digits, first split, by bound; settings by hand and by compare.py."""
    x_train, x_test, y_train, y_test = split("digits", 0)
    x = torch.as_tensor(x_test)
    kept = json.loads((RESULTS / "holomorphic.json").read_text())
    chosen = kept["digits | Fock relative, complexification, 27 settings"]["chosen"]
    found: dict[str, Any] = {}
    for name, settings in (
        ("plain, weight 2, ridge 1e-4", {"weight": 2.0, "ridge": 1e-4}),
        ("relative, tuned", {"relative": True, "loss": "squared-hinge", **chosen}),
    ):
        seconds, machine = timed(lambda settings=settings: HolomorphicClassifier(**settings).fit(x_train, y_train))
        h, codes = machine.model_.solver, machine.model_.codes
        scores, gradients, combine = through_codes(h(x), h.derivative(x) * h.unit, codes, Complexification())
        norms = degree_norms(h.points, combine(h.coefficients), h.weight)
        lengths = torch.linalg.vector_norm((x - h.centre) / h.unit, dim=1)
        right = torch.as_tensor(machine.predict(x_test) == y_test).double()
        radii = {
            "norm times distance": certified_radius(norms, lengths, scores, gradients, order=0) * h.unit,
            "around the centre": certified_radius(norms, lengths, scores, gradients) * h.unit,
            "the greater of centre and sample": machine.model_.certified_radius(x),
        }
        found[name] = {key: float((value * right).median()) for key, value in radii.items()}
        found[name] |= {"clean": float(right.mean()), "fit_seconds": seconds}
    return found


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, Any] = {"versions": versions("numpy")}
    parts: dict[str, Callable[[], Any]] = {
        "certificates": certificates,
        "gauss, ms": lambda: {str(size): gauss(size) for size in (32, 128, 256, 512, 1024)},
        "nystroem": nystroem,
        "conjugate gradients": iterative,
    }
    for name, part in parts.items():
        found[name] = part()
        write_atomically(RESULTS / "exact_sizes.json", (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
