"""What a step of each rule costs in CPU time, beside what its passes say, on networks with and without BatchNorm.

    python -m studies.frontier.cost cost.csv --repeats 9

The rules take turns, step by step, so that whatever else the machine does falls on all of them. What counts is the
median of the ratios to plain training in the same turn. One thread.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from holomorph.nn.classifiers import ResNet
from holomorph.rules.base import Rule
from holomorph.rules.registry import parse
from holomorph.threats import ThreatModel

THREAT = ThreatModel("inf", "8/255")
RULES = (
    "plain", "nfgsm", "finite(segments=1)", "finite(late=1)", "finite(segments=3,late=1)",
    "finite(observable=logits,segments=1)", "qub", "fgsm-pgi", "pgd", "trades", "awp", "gradalign", "hardy",
    "harmonic", "dirichlet(estimator='finite-difference')", "dirichlet", "jacobian",
)  # fmt: skip


def step(rule: Rule, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """CPU seconds of one loss and its backward pass."""
    start = time.process_time()
    rule(model, x, y).backward()
    spent = time.process_time() - start
    model.zero_grad()
    return spent


def ratios(norm: str, repeats: int, batch: int) -> dict[str, tuple[float, float]]:
    """Counted and measured cost of every rule, in steps of plain training."""
    torch.manual_seed(0)
    model = ResNet((3, 32, 32), 10, depth=8, width=16, norm=norm, activation="silu")
    model = model.to(memory_format=torch.channels_last)
    x = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,))
    rules = {text: parse(text, THREAT) for text in RULES}
    for rule in rules.values():
        step(rule, model, x, y)  # warms up
    turns = [{text: step(rule, model, x, y) for text, rule in rules.items()} for _ in range(repeats)]
    measured = {text: statistics.median(turn[text] / turn["plain"] for turn in turns) for text in RULES}
    return {text: (rules[text].cost.passes / 3, measured[text]) for text in RULES}


def main() -> None:
    """Measure and write a row for each rule and network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--norms", default="batch,group,layer")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with asked.table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "rule", "counted", "measured", "ratio"])
        for norm in asked.norms.split(","):
            for text, (counted, measured) in ratios(norm, asked.repeats, asked.batch).items():
                writer.writerow([norm, text, f"{counted:.2f}", f"{measured:.2f}", f"{measured / counted:.2f}"])
                file.flush()


if __name__ == "__main__":
    main()
