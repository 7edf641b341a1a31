"""A long training at a large radius on small grey images with the package's defaults: does it end where it was best?

    python -m studies.frontier.collapse finite runs/long --epochs 10 --seed 0
    python -m studies.frontier.collapse finite runs/unguarded --epochs 10 --no-guard

The course of every epoch, and what all of AutoAttack leaves of the first test images, go to OUT/found.json.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import torch

import holomorph as hm
from holomorph.data import load_data
from holomorph.errors import HolomorphWarning
from holomorph.nn.classifiers import CNN
from holomorph.rules.registry import parse
from holomorph.threats import ThreatModel
from studies.frontier.attacks import survivors


def main() -> None:
    """Train, attack, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rule")
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--images", type=int, default=55000)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-guard", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    data, threat = load_data(asked.data), ThreatModel("inf", asked.eps)
    (x, y), (x_test, y_test) = data.part("train"), data.part("test")
    model, start = CNN(data.shape, data.classes), time.process_time()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", HolomorphWarning)
        record = hm.fit(
            model,
            (x[: asked.images], y[: asked.images]),
            parse(asked.rule, threat, seed=asked.seed),
            epochs=asked.epochs,
            out=asked.out,
            resume=asked.out.exists(),
            validation=data.part("val"),
            guard=not asked.no_guard,
            seed=asked.seed,
        )
    seconds = time.process_time() - start
    attacked, _ = survivors(model, x_test[: asked.test], y_test[: asked.test], asked.eps)
    found = {
        "rule": asked.rule,
        "data": asked.data,
        "threat": f"inf:{asked.eps}",
        "guard": not asked.no_guard,
        "seed": asked.seed,
        "epochs": asked.epochs,
        "images": len(x[: asked.images]),
        "seconds": round(seconds, 1),
        "attacked": attacked,
        "kept_epoch": record.kept_epoch,
        "segments": record.rule_settings.get("segments"),
        "epoch_clean": [epoch.validation_accuracy for epoch in record.history],
        "epoch_robust": [epoch.robust_accuracy for epoch in record.history],
        "alignment": [epoch.measured.get("alignment") for epoch in record.history],
        "linearity": [epoch.measured.get("linearity") for epoch in record.history],
        "warnings": [str(one.message) for one in said],
    }
    (asked.out / "found.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
