"""N-FGSM with the quadratic upper bound of its loss."""

from dataclasses import dataclass

from torch import Tensor, nn

from holomorph.rules.base import Cost
from holomorph.rules.bound import logit_bound
from holomorph.rules.nfgsm import NFGSM
from holomorph.rules.passes import Passes


@dataclass
class QUB(NFGSM):
    r"""An upper bound of the risk at N-FGSM's point, by the logits there and at the sample.

    $$\mathbb{E}\,\ell(x) + \langle p(x) - e_y,\, D\rangle + \tfrac14|D|^2, \qquad D = h(x'') - h(x)$$

    x'' is the point of :class:`NFGSM`, h the logits, p the probabilities; see
    :func:`~holomorph.rules.bound.logit_bound`. Both ends are differentiated.

    Parameters
    ----------
    threat, noise:
        As in :class:`NFGSM`.

    Source: You and Lee 2025, "Quadratic Upper Bound for Boosting Robustness".

    Examples
    --------
    >>> import torch
    >>> from holomorph.threats import ThreatModel
    >>> rule = QUB(ThreatModel("inf", 0.1))
    >>> rule(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "qub"
    takes_risk = False  # the bound is one of the cross-entropy

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The bound between the samples and the perturbed points."""
        moved = self.perturbed(model, x, y)
        passes = Passes(model)
        near = passes.first(x)
        return logit_bound(near, passes.again(moved), y, label_smoothing=self.label_smoothing).mean()

    @property
    def cost(self) -> Cost:
        """The sample and the far point, and the noisy point's direction."""
        return Cost(3, 2.5)
