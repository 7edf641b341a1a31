"""Spike index and harmonicity during training, and which predicts robustness: ``python -m studies.explain.trends``.

On the digits, where training is cheap: MLPs of width 64, l_inf .1, values on all test images; robust accuracy is
what PGD with 40 steps leaves, an upper bound. ``during`` follows three trainings over their epochs, ``over``
ranks trainings that differ in rule and weight, and correlates each measure with robust accuracy over them.
"""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph._utils.statistics import bootstrap, spearman
from holomorph.calculus.laplacian import laplacian
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import under_attack
from holomorph.data import Splits, load_data
from holomorph.explanation.harmonicity import harmonicity
from holomorph.explanation.spikes import spikes
from holomorph.nn.classifiers import MLP
from holomorph.rules import Rule, parse
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from studies.common import pgd_survivors
from studies.kept import keep, results

RESULTS = results("explain")
THREAT = ThreatModel("inf", 0.1)
EPOCHS, BATCH, SHOWN = 12, 50, (0, 1, 2, 4, 8, 12)
FOLLOWED = ("plain", "dirichlet", "nfgsm")
ENTRIES = (
    "plain", "noise", "jacobian", "cure", "nfgsm", "pgd", "trades", "gradalign", "weakly-harmonic", "harmonic",
    "dirichlet(weight=0.1)", "dirichlet(weight=0.3)", "dirichlet(weight=1)", "dirichlet(weight=3)",
    "dirichlet(weight=1,measure=samples)", "dirichlet(weight=1,power=1)",
)  # fmt: skip


def trained(data: Splits, text: str) -> list[dict[str, Tensor]]:
    """Train and return the weights at the start and after each epoch."""
    torch.manual_seed(0)
    model, rule = MLP((1, 8, 8), 10, width=64), parse(text, THREAT)
    states: list[dict[str, Tensor]] = []
    _watch(rule, states, every=-(-len(data.x_train) // BATCH))
    fit(model, (data.x_train, data.y_train), rule, epochs=EPOCHS, batch_size=BATCH, lr=5e-3)
    return [*states[:EPOCHS], model.state_dict()]


def _watch(rule: Rule, states: list[dict[str, Tensor]], every: int) -> None:
    """Keep the weights at the first step of each epoch."""
    loss, calls = rule.loss, 0

    def watched(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        if calls % every == 0:
            states.append(copy.deepcopy(model.state_dict()))
        calls += 1
        return loss(model, x, y)

    rule.loss = watched  # type: ignore[method-assign]


def of_digits(data: Splits, state: dict[str, Tensor]) -> dict[str, float]:
    """All measures of one network on the digits."""
    model = MLP((1, 8, 8), 10, width=64)
    model.load_state_dict({name.removeprefix("_forward_module."): t for name, t in state.items()})
    return figures(model, data.x_test, data.y_test)


def figures(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """All measures of one network."""
    model.eval()
    robust = float(pgd_survivors(model, x, y, THREAT, restarts=1).float().mean())
    with under_attack(model):
        subject = Classifier(model)
        energies = spikes(subject, x, y, THREAT)
        shape = harmonicity(subject, x, y, THREAT, directions=8, tests=16)
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            bend = laplacian(subject, x, "hutchinson", probes=8, generator=draws).square().mean().sqrt()
        clean = float((subject.predictions(x) == y).float().mean())
    samples, balls, _ = (place.energy.value for place in energies.places)
    return {
        "clean": clean,
        "robust": robust,
        "energy on samples": samples,
        "energy on balls": balls,
        "spike index": energies.spike_index.value,
        "mean-value gap over slope": shape.mean_value_gap[-1].value,
        "Laplacian over slope": shape.laplacian_residual.value,
        "Laplacian": float(bend),
        "maximum violations": shape.maximum_violations,
        "weak residual": shape.weak_residual,
    }


def during(data: Splits) -> None:
    """Follow three trainings."""

    def row(text: str) -> dict[int, dict[str, float]]:
        states = trained(data, text)
        return {epoch: of_digits(data, states[epoch]) for epoch in SHOWN}

    keep(RESULTS / "trend.json", {text: functools.partial(row, text) for text in FOLLOWED})


def over(data: Splits) -> None:
    """Correlate over trainings, with a bootstrap over them."""
    rows = {text: functools.partial(lambda t: of_digits(data, trained(data, t)[-1]), text) for text in ENTRIES}
    ranked("harmonicity", list(keep(RESULTS / "harmonicity.json", rows).values()))


def ranked(stem: str, found: list[dict[str, float]]) -> None:
    """Write the rank correlations with robust accuracy."""
    robust = np.array([f["robust"] for f in found])
    lines = ["| measure | rank correlation with robust accuracy | interval |", "|---|---|---|"]
    for name in found[0]:
        if name != "robust":
            r = bootstrap(spearman, np.array([f[name] for f in found]), robust)
            lines.append(f"| {name} | {r.value:+.2f} | {r.low:+.2f} to {r.high:+.2f} |")
    write_atomically(RESULTS / f"{stem}.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    torch.set_num_threads(1)
    during(load_data("digits"))
    over(load_data("digits"))
