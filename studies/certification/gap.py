"""How far what is proved lies below what attacks leave, for networks trained with and without the bound as a term.

python -m studies.certification.gap digits
python -m studies.certification.gap fashion-mnist --data-dir FOLDER
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

import holomorph as hm
from holomorph.data import load_data
from holomorph.nn.classifiers import build_classifier
from holomorph.rules import parse
from holomorph.threats import ThreatModel
from studies.kept import keep, results

#: The attacks: enough to find the gap within a point on networks this small; all of them are in ``holomorph evaluate``.
ATTACKS = ("apgd-ce", "apgd-t", "pgd-margin")


class Task(NamedTuple):
    """What is trained, and at which radius it is looked at."""

    model: str
    width: int
    trained_at: float
    eps: float
    epochs: int
    train: int
    test: int


TASKS = {
    "digits": Task("mlp", 256, 0.1, 0.05, 30, 1077, 360),
    "fashion-mnist": Task("cnn", 8, 0.05, 0.05, 4, 6_000, 100),
}
RULES = ("finite", "finite + certified", "certified(weight=0.8)")


def measure(name: str, rule: str, data_dir: str | None) -> dict[str, Any]:
    """Train one network, certify it and attack it on the same samples."""
    task, splits = TASKS[name], load_data(name, data_dir=data_dir)
    torch.manual_seed(0)
    model = build_classifier(task.model, splits.shape, splits.classes, width=task.width)
    started = time.process_time()
    samples = splits.x_train[: task.train], splits.y_train[: task.train]
    hm.fit(model, samples, parse(rule, ThreatModel("inf", task.trained_at)), epochs=task.epochs)
    trained = time.process_time() - started
    x, y, threat = splits.x_test[: task.test], splits.y_test[: task.test], ThreatModel("inf", task.eps)
    started = time.process_time()
    record = hm.certify(model, x, y, threat=threat, steps=1, batch_size=20)
    certified = time.process_time() - started
    broken = torch.zeros(len(y), dtype=torch.bool)
    for attack in ATTACKS:
        broken |= hm.attack(model, x, y, threat=threat, name=attack).broken
    right = torch.tensor(record.predictions) == y
    by = [name for name in record.threats[0].proved_by if name]
    return {
        "clean": record.clean,
        "proved": record.threats[0].proved,
        "attacked": float((right & ~broken).double().mean()),
        "proved by lines": by.count("lines"),
        "proved by slopes": by.count("slopes"),
        "training, s": trained,
        "certificate, s": certified,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=TASKS)
    parser.add_argument("--data-dir", help="Folder with the IDX files of Fashion-MNIST.")
    wanted = parser.parse_args()
    rows: dict[str, Callable[[], Any]] = {rule: partial(measure, wanted.data, rule, wanted.data_dir) for rule in RULES}
    keep(results("certification") / f"{wanted.data}.json", rows)


if __name__ == "__main__":
    main()
