"""The examples made on a source: APGD's strongest, FMN's direction, and one step along the gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.attacks.unit_cube import UnitCube, UnitModel
from holomorph.calculus.norms import dual_direction, norm, per_sample
from holomorph.contract import Differentiable
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel


@dataclass(frozen=True)
class StrongestAPGD(AutoAttackStage):
    """APGD that returns the input of highest loss for every sample.

    As part of AutoAttack it stops at the first wrong answer and returns the sample itself where it finds none;
    what transfers is the highest loss.
    """

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run the attack on one batch."""
        cube = UnitCube(tuple(x.shape[1:]), x.dtype, self.threat.box)
        run = self._build(UnitModel(classifier, cube), str(x.device), seed)
        torch.manual_seed(seed)
        with torch.no_grad():
            best = run.perturb(cube.encode(x), y, best_loss=True)
        return cube.decode(best.detach())


def stretched(x: Tensor, nearest: Tensor, threat: ThreatModel) -> Tensor:
    """Stretch or shrink a minimal-norm attack's example to the threat's radius, inside the box.

    The nearest example itself lies on the source's boundary and would transfer to no model that is a little safer.

    >>> stretched(torch.tensor([[0.5, 0.9]]), torch.tensor([[0.6, 1.0]]), ThreatModel("inf", 0.2))
    tensor([[0.7000, 1.0000]])
    """
    delta = nearest - x
    length = norm(delta, threat.p)
    scale = torch.where(length > 0, threat.radius / length.clamp_min(1e-12), torch.zeros_like(length))
    return (x + per_sample(scale, x) * delta).clamp(*threat.box)


def gradient_step(model: Differentiable, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
    r"""Return $d = \varepsilon \arg\max_{\|s\|_p \le 1} \langle\nabla\ell, s\rangle$, cut off at the box.

    Source: docs/mathematics.md, section 7.

    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    >>> gradient_step(model, torch.tensor([[0.5, 0.95]]), torch.tensor([0]), ThreatModel("inf", 0.1))
    tensor([[-0.1000,  0.0500]])
    """
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), y, reduction="sum"), leaf)
    return (x + threat.radius * dual_direction(gradient, threat.p)).clamp(*threat.box) - x
