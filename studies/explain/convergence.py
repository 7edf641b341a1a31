"""Pointwise against uniform convergence on the digits, plain and robust: ``python -m studies.explain.convergence``.

MLPs of width 64 on growing parts of the training set, each from independent starts and orders; the gaps are taken on
all test images. The first fifty training images are in every part: the ones that generalisation is measured against.
"""

import functools
from typing import Any

import torch
from torch import nn

from holomorph.data import Splits, load_data
from holomorph.nn.classifiers import MLP
from holomorph.research.convergence import convergence
from holomorph.rules import parse
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from studies.kept import keep, results

RESULTS = results("explain") / "convergence.json"
THREAT = ThreatModel("inf", 0.1)
RULES = ("plain", "nfgsm", "dirichlet")
SIZES, SEEDS, SEEN, STEPS = (100, 300, 1000), (0, 1, 2), 50, 400


def trained(data: Splits, rule: str, size: int, seed: int) -> nn.Module:
    """Train on the fifty shared images and others drawn by the seed, about 400 steps."""
    torch.manual_seed(seed)
    order = torch.randperm(len(data.x_train) - SEEN, generator=torch.Generator().manual_seed(seed)) + SEEN
    chosen = torch.cat([torch.arange(SEEN), order[: size - SEEN]])
    model = MLP((1, 8, 8), 10, width=64)
    epochs = max(1, STEPS * 50 // size)
    fit(model, (data.x_train[chosen], data.y_train[chosen]), parse(rule, THREAT), epochs=epochs, batch_size=50,
        lr=5e-3, seed=seed)  # fmt: skip
    return model.eval()


def row(data: Splits, rule: str, size: int) -> dict[str, Any]:
    fresh = (data.x_test, data.y_test)
    seen = (data.x_train[:SEEN], data.y_train[:SEEN])
    found = convergence(
        lambda size, seed: trained(data, rule, size, seed),
        [size],
        fresh,
        seen,
        threat=THREAT,
        rule_name=rule,
        seeds=SEEDS,
    )
    return found[0].model_dump()


def main() -> None:
    data = load_data("digits")
    found = keep(
        RESULTS, {f"{rule}, {size}": functools.partial(row, data, rule, size) for rule in RULES for size in SIZES}
    )
    for name, gap in found.items():
        print(f"| {name} | {gap['pointwise']['value']:.3f} | {gap['uniform']['value']:.3f} "
              f"| {gap['generalisation']:.2f} | {gap['robust_generalisation']:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
