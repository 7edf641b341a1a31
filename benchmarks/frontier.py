"""The plane of robustness, accuracy and training cost on Fashion-MNIST: everything that was tried, failures included.

Tuning looks at the validation split under PGD with 40 steps only; the test split and AutoAttack are for finalists.

    python benchmarks/frontier.py                 # trains what is missing, one row after another; resumable
    python benchmarks/frontier.py --finalists 1000  # AutoAttack and minimal-norm attacks on test images
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common import RESULTS, Row, run_rows, train_row
from holomorph.calculus.measures import Ball
from holomorph.calculus.norms import dual_direction
from holomorph.data import load
from holomorph.evaluation.evaluate import evaluate
from holomorph.rules import NFGSM, PGD, Cost, FiniteEnergy
from holomorph.rules.passes import Passes
from holomorph.types import ThreatModel, write_atomically

THREAT = ThreatModel("inf", 0.1)
FINALISTS = ("N-FGSM, 6 epochs", "finite d + d^2, 6 epochs", "one-sided d^2, noise 2, 6 epochs")


@dataclass
class OneSided(FiniteEnergy):
    r"""The finite-size energy with its near end held fixed: $\ell(x'') + c\,(\ell(x'') - \mathrm{sg}[\ell(x')])^2$.

    Its gradient is N-FGSM's with each sample weighted by 1 + 2 c d, so that it costs what N-FGSM costs: the near
    end needs its input gradient only.
    """

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        passes = Passes(model)
        drawn = self.measure.draw(x, self.generator).detach().requires_grad_()
        here = self.risk(passes.first(drawn), y)
        (gradient,) = torch.autograd.grad(here.sum(), drawn)
        end = drawn.detach() + self.threat.radius * dual_direction(gradient, self.threat.p)
        there = self.risk(passes.again(end.clamp(*self.threat.box)), y)
        rise = there - here.detach()
        self.measured = {"risk": here.detach().mean(), "energy": rise.detach().square().mean()}
        return (there + self.squared * min(1.0, self.progress / self.ramp) * rise.clamp_min(0).square()).mean()

    @property
    def cost(self) -> Cost:
        return Cost(2, 1.5)


def one_sided(squared: float, scale: float) -> OneSided:
    return OneSided(THREAT, squared=squared, measure=Ball(THREAT, scale=scale))


ROWS = {
    "N-FGSM, 6 epochs": Row(lambda: NFGSM(THREAT)),
    "one-sided d^2, noise 2, 6 epochs": Row(lambda: one_sided(0.5, 2.0)),
    "finite d + d^2, 6 epochs": Row(lambda: FiniteEnergy(THREAT)),
    "N-FGSM, 9 epochs": Row(lambda: NFGSM(THREAT), epochs=9),
    "PGD-10, 6 epochs": Row(lambda: PGD(THREAT)),
    "finite d + d^2, noise 2, 6 epochs": Row(lambda: FiniteEnergy(THREAT, measure=Ball(THREAT, scale=2.0))),
    "one-sided d^2, noise 1, 6 epochs": Row(lambda: one_sided(0.5, 1.0)),
    "one-sided d^2, c = 1, noise 2, 6 epochs": Row(lambda: one_sided(1.0, 2.0)),
    "finite, linear only, noise 2, 6 epochs": Row(
        lambda: FiniteEnergy(THREAT, squared=0.0, measure=Ball(THREAT, scale=2.0))
    ),
    "N-FGSM, averaged weights, 6 epochs": Row(lambda: NFGSM(THREAT), ema=0.995),
    "finite d + d^2, averaged weights, 6 epochs": Row(lambda: FiniteEnergy(THREAT), ema=0.995),
    "one-sided d^2, noise 2, averaged weights, 6 epochs": Row(lambda: one_sided(0.5, 2.0), ema=0.995),
    "N-FGSM, 12 epochs": Row(lambda: NFGSM(THREAT), epochs=12),
    "one-sided d^2, noise 2, 12 epochs": Row(lambda: one_sided(0.5, 2.0), epochs=12),
    "finite d + d^2, 12 epochs": Row(lambda: FiniteEnergy(THREAT), epochs=12),
}


def attack_finalists(samples: int) -> None:
    """The project's own strict evaluation of the finalists on the first test images."""
    path = RESULTS / "frontier_finalists.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    data = load("fashion-mnist")
    for name in FINALISTS:
        if name in found:
            continue
        model, facts = train_row(name, ROWS[name], data)
        record = evaluate(model, data.x_test, data.y_test, THREAT, n=samples)
        found[name] = {
            "samples": samples,
            "clean": record.clean,
            "robust": record.robust,
            "interval": record.robust_interval.model_dump(),
            "failed_checks": [check.name for check in record.failed],
            "attacks": [(a.name, a.broken, a.accuracy) for a in record.attacks],
            "passes_relative_to_plain": facts["passes_relative_to_plain"],
        }
        write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())
        print(name, found[name]["clean"], found[name]["robust"], flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--finalists", type=int, default=0, metavar="N", help="attack the finalists on N test images")
    wanted = parser.parse_args().finalists
    if wanted:
        attack_finalists(wanted)
    else:
        run_rows("frontier.json", ROWS, split="val", command="python benchmarks/frontier.py")
