"""Where must the energy be measured? The first picture of the documentation, on Fashion-MNIST.

Six trainings of the same network: the risk at the samples or on the threat's balls, crossed with the energy at the
samples, on the balls, or absent. All 55,000 training images, Adam at 2e-3 one-cycle, 6 epochs, batches of 256.
PGD with 40 steps and 2 restarts on the first 1,000 test images: an upper bound of robust accuracy, for comparison
between rows only.

    python -m studies.energy.first_light            # about 12 minutes on 2 idle cores; resumes where it stopped
"""

from dataclasses import dataclass

from torch import Tensor, nn

from holomorph.calculus.measures import Ball, Samples
from holomorph.rules import Dirichlet, Plain, Rule
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel
from studies.common import Row, run_rows

THREAT = ThreatModel("inf", 0.1)


@dataclass
class RiskOnBalls(Dirichlet):
    """Risk on the balls, energy at the samples: the one cell of the table that no setting of the rule gives."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        passes = Passes(model)
        risk = self.risk(passes.first(Ball(self.threat).draw(x, self.generator)), y).mean()
        x = x.detach().requires_grad_()
        energy = self._energy(passes, x, passes.again(x), y).mean()
        return risk + ramped(self.weight, self.progress, self.ramp) * energy


def dirichlet(energy: str, risk: str) -> Rule:
    measure = Ball(THREAT) if energy == "ball" else Samples()
    return Dirichlet(THREAT, measure=measure, risk_at="measure" if energy == risk else "samples")


ROWS = {
    "risk on balls, energy on balls": Row(lambda: dirichlet("ball", "ball")),
    "plain": Row(Plain),
    "risk at samples, energy at samples": Row(lambda: dirichlet("samples", "samples")),
    "risk at samples, energy on balls": Row(lambda: dirichlet("ball", "samples")),
    "risk on balls, energy at samples": Row(lambda: RiskOnBalls(THREAT, estimator="double-backward")),
    "risk on balls, no energy": Row(lambda: Dirichlet(THREAT, weight=0.0)),
}

if __name__ == "__main__":
    run_rows("first_light.json", ROWS, split="test", command="python -m studies.energy.first_light")
