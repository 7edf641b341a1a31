"""What the theory predicts and what we measure, on Fashion-MNIST: ``python benchmarks/explanations.py [STAGE...]``.

Stages: train (the models of zoo.py), explain (four CNNs, l_inf and l_2), transfer (all models). Each model, record and
part is kept under runs/explanations and not worked out twice; the records go to results/explanations.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from holomorph.data import Splits, load
from holomorph.framework.explain import explain
from holomorph.framework.transfer import transfer
from holomorph.types import ThreatModel
from zoo import RUNS, ZOO, trained

RESULTS = Path(__file__).parent / "results" / "explanations"
CNNS = ("cnn plain", "cnn dirichlet", "cnn n-fgsm", "cnn pgd")
THREATS = (ThreatModel("inf", 0.1), ThreatModel(2, 1.5))


def train_all(data: Splits, samples: int, thorough: bool) -> None:
    for name in ZOO:
        start = time.process_time()
        model = trained(name, data)
        with torch.no_grad():
            right = (model(data.x_test[:1000]).argmax(1) == data.y_test[:1000]).float().mean()
        print(f"{name}: clean {float(right):.3f}, {time.process_time() - start:.0f} s", flush=True)


def explain_all(data: Splits, samples: int, thorough: bool) -> None:
    x, y = data.x_test[:samples], data.y_test[:samples]
    for name in CNNS:
        model = trained(name, data)
        for threat in THREATS:
            state = RUNS / name.replace(" ", "-") / f"explanation-{threat.norm}.json"
            record = explain(
                model, x, y, threat=threat, reference=data.x_train[:5000], thorough=thorough, out=state, name=name,
                data=data.name,
            )  # fmt: skip
            record.save(RESULTS / f"{name.replace(' ', '-')}-{threat.norm}.json")
            for a in record.margins.agreements:
                gap = f"curve within {100 * a.curve_gap.value:.1f} points"
                print(f"{name} {threat} {a.estimate}: rank {a.spearman.value:.3f}, {gap}, {a.faster:.0f}x", flush=True)


def transfer_all(data: Splits, samples: int, thorough: bool) -> None:
    models = {name: trained(name, data) for name in ZOO}
    x, y = data.x_test[:samples], data.y_test[:samples]
    record = transfer(models, x, y, threat=ThreatModel("inf", 0.05), eps=(0.02, 0.05, 0.1), steps=20)
    record.save(RESULTS / "transfer.json")
    for s in record.scores:
        figures = f"R2 {s.determination.value:.2f}, centred {s.determination_centred.value:.2f}"
        print(f"{s.attack} {s.eps:g} order {s.order}: {figures}, rates {s.rank_success.value:.2f}", flush=True)


STAGES = {"train": train_all, "explain": explain_all, "transfer": transfer_all}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", default=list(STAGES), help=", ".join(STAGES))
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--thorough", action="store_true", help="add FAB and the boundary attack to the reference")
    options = parser.parse_args()
    for stage in options.stages:
        STAGES[stage](load("fashion-mnist"), options.samples, options.thorough)
