"""Why a holomorphic network on digits does worse than a real one of the same size: one change at a time.

From the plain real network of compare.py to the holomorphic one: the scaling of the features, the activation,
complex weights, the risk in balls, the energy, paired coordinates. Nothing is tuned; every
network is trained at two learning rates. Five splits, smallest perturbations of 30 test samples each, at the first.

Run ``python -m studies.holomorphic.ladder``; kept in ladder.json and not measured again; writes ladder.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from holomorph._utils.io import write_atomically
from holomorph.calculus.measures import Samples
from holomorph.errors import HolomorphError
from holomorph.nn.classifiers import MLP
from holomorph.nn.networks import HolomorphicMLP
from holomorph.rules import build_rule
from holomorph.rules.holomorphic import Holomorphic
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from studies.holomorphic.compare import measure, split
from studies.holomorphic.rivals import RADIUS, Method, Standardised, box, real_network, schedule
from studies.kept import results

RESULTS = results("holomorphic")
SEEDS, ATTACKED, RATES = 5, 30, (1e-2, 3e-2)


def network(make: Callable[[int, int], nn.Module], weight: float = 0.0, ball: bool = False) -> Callable[..., nn.Module]:
    """A network on features divided by one number, by the holomorphic rule or, if it has no hypothesis, plainly."""

    def fitted(x: np.ndarray, y: np.ndarray, seed: int, *, lr: float) -> nn.Module:
        torch.manual_seed(seed)
        body = make(x.shape[1], int(y.max()) + 1).double()
        size = float(np.sqrt(((x - x.mean(0)) ** 2).mean()))
        inputs = torch.as_tensor((x - x.mean(0)) / size)
        threat = ThreatModel(2, RADIUS / size, box(inputs.numpy(), RADIUS / size))
        if isinstance(body, HolomorphicMLP):
            rule = Holomorphic(threat, weight=weight, risk_of="logits", seed=seed)
            rule.measure = rule.measure if ball else Samples()
        else:
            rule = build_rule("plain", threat, seed=seed)
        fit(body, (inputs, torch.as_tensor(y)), rule, lr=lr, seed=seed, **schedule(x))
        return Standardised(body.eval(), x.mean(0), size)

    return fitted


def gelu(inputs: int, classes: int) -> nn.Module:
    return MLP((inputs,), classes, width=32)


def sine(width: int, embedding: str = "complexification", **settings: Any) -> Callable[[int, int], nn.Module]:
    def make(inputs: int, classes: int) -> nn.Module:
        return HolomorphicMLP((inputs,), classes, width=width, embedding=embedding, readout="codes", **settings)

    return make


RUNGS = {
    "real, GELU, each feature standardised": (real_network("plain"), gelu),
    "real, GELU, one scale for all features": (network(gelu), gelu),
    "real, sin": (network(sine(32, real_weights=True)), sine(32, real_weights=True)),
    "complex, sin, same size": (network(sine(18)), sine(18)),
    "and risk in balls": (network(sine(18), ball=True), sine(18)),
    "and energy 0.3": (network(sine(18), 0.3, ball=True), sine(18)),
    "paired, sin, same size": (network(sine(25, "pairing")), sine(25, "pairing")),
    "paired, balls, energy 0.3": (network(sine(25, "pairing"), 0.3, ball=True), sine(25, "pairing")),
}


def accuracy(fitted: Callable[..., nn.Module], rate: float, seed: int) -> dict[str, Any]:
    """On test samples; a training that fails (overflow, loss not a number) counts as no answer."""
    x, held, y, labels = split("digits", seed)
    try:
        model = fitted(x, y, seed, lr=rate)
        with torch.no_grad():
            answers = model(torch.as_tensor(held)).argmax(1)
    except HolomorphError as error:
        return {"clean": 0.0, "error": str(error)}
    return {"clean": float((answers == torch.as_tensor(labels)).double().mean())}


def table(known: dict[str, Any]) -> str:
    """Means and ranges over the splits."""
    header = ["network", "parameters", *(f"clean % at rate {rate:g}" for rate in RATES), "median l_2 (of the splits)"]
    lines = [f"| {' | '.join(header)} |", "|---|---|---|---|---|"]
    for label, (_, make) in RUNGS.items():
        found = [
            [known[key] for seed in range(SEEDS) if (key := f"{label} | {rate:g} | {seed}") in known] for rate in RATES
        ]
        if not found[0]:
            continue
        cells = [label, f"{sum(p.numel() for p in make(64, 10).parameters()):,}"]
        cells += [_spread([100 * f["clean"] for f in part], 1) if part else "" for part in found]
        cells.append(_spread([float(np.median(f["sizes"])) for f in found[0]], 3))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "ladder.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    begin = time.monotonic()
    for (label, (fitted, _)), rate, seed in itertools.product(RUNGS.items(), RATES, range(SEEDS)):
        key = f"{label} | {rate:g} | {seed}"
        if key in known or time.monotonic() - begin > 60 * options.minutes:
            continue
        if rate == RATES[0]:
            known[key] = measure(Method(fitted, []), {"lr": rate}, "digits", seed, ATTACKED)
        else:
            known[key] = accuracy(fitted, rate, seed)
        write_atomically(path, json.dumps(known, indent=0).encode())
        write_atomically(RESULTS / "ladder.md", table(known).encode())
        print(f"{time.process_time():6.0f} s  {key}", known[key]["clean"], flush=True)


if __name__ == "__main__":
    main()
