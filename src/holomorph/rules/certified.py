"""The supremum of the gradient instead of its mean: a risk that bounds the loss over the whole threat."""

from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from holomorph.contract import Differentiable
from holomorph.contract.model import evaluating, own
from holomorph.contract.units import InUnits
from holomorph.enclosures.program import Program
from holomorph.enclosures.region import Region
from holomorph.enclosures.slopes import slopes
from holomorph.enclosures.values import enclose
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.schedule import ramped, scaled
from holomorph.threats import ThreatModel


@dataclass
class Certified(Rule):
    r"""A part of the risk, and a bound of the loss over the whole threat from the supremum of the margins' slopes.

    $$(1 - w)\,\mathbb{E}\,\ell(x) + w\,\mathbb{E}\,\log\Bigl(1 + \sum_{j \ne y} e^{L_j - m_j(x)}\Bigr), \qquad
    L_j \ge \varepsilon \sup_{x'} \|\nabla m_j(x')\|_q, \qquad m_j = h_y - h_j$$

    Every margin falls by at most $L_j$ anywhere in the threat, so the second part is at least the largest loss there.
    $L_j$ comes from the enclosures of the network's slopes (:func:`holomorph.enclosures.slopes.slopes`), the walls of
    the box included. A network trained so is one for which :func:`holomorph.certify` finds large radii.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w in [0, 1].
    ramp:
        Share of training in which the radius grows from 0: bounds of an untrained network over a large ball are too
        wide to learn from.

    Raises
    ------
    ConfigError
        For a weight or a ramp outside [0, 1].
    ModelError
        For a network with a part that cannot be bounded.

    The bound is that of the network in evaluation mode; enclosures are computed in the network's own precision, without
    rounding, since they need only be near here. The cost is that for ten classes; it grows with their number.

    Source: docs/mathematics.md, section 9. Our own; the use of a bound as the loss is Wong and Kolter's, 2018.

    Examples
    --------
    >>> rule = Certified(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "certified"

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 0.5
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, share in (("weight", self.weight), ("ramp", self.ramp)):
            if not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}; give a share in [0, 1].")

    @property
    def can_strengthen(self) -> bool:
        """A weight of more than a half cannot be doubled."""
        return 0 < self.weight <= 0.5

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The mixture."""
        risk = self.risk(model(x), y).mean()
        share = ramped(1.0, self.progress, self.ramp)
        if self.weight == 0 or share == 0:
            return risk
        bound = self._bound(model, x, y, scaled(self.threat, share)).mean()
        self.measured = {"bound": bound.detach(), "radius": torch.tensor(share)}
        return (1 - self.weight) * risk + self.weight * bound.to(risk)

    def _bound(self, model: nn.Module, x: Tensor, y: Tensor, threat: ThreatModel) -> Tensor:
        """The loss when every margin falls as far as it can; (batch,)."""
        mixed = torch.amp.is_autocast_available(x.device.type)
        with evaluating(model), torch.autocast(x.device.type, enabled=False) if mixed else nullcontext():
            net, features = _inner(model), None
            if isinstance(net, InUnits):  # the network itself, and the region in the features' own units
                features, net = net.features, _inner(net.model)
                x = features.decode(x).to(x.dtype)
            program = Program.trace(net, _precision(model, x)).with_logits(x)
            radius = torch.full((len(x),), threat.radius, device=x.device)
            if features is None:
                region = Region.around(x, threat, radius, program.dtype)
            else:
                region = Region.within(x, threat, radius, features).to(program.dtype)
            found = enclose(program, region, 0.0)
            logits = program.run(region.centre)
            own = one_hot(y, logits.shape[1]).to(logits)
            classes = torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)
            steepest = slopes(found, own[None] - classes[:, None])
        fall = region.fall(steepest.low, steepest.high).mT
        margins = logits.gather(1, y[:, None]) - logits
        return self.risk(fall - margins, y)

    @property
    def cost(self) -> Cost:
        """A pass; and the forward intervals, a program's run and twenty cotangents, all differentiated again."""
        return Cost(1, 1) if self.weight == 0 else Cost(1 + 24, 1 + 24)


def _inner(model: Differentiable) -> Differentiable:
    """The network inside the wrappers of training loops, which hold it as ``module`` and nothing else."""
    bare = own(model)
    inner = getattr(bare, "module", None)
    if not isinstance(bare, nn.Module) or not isinstance(inner, nn.Module):
        return bare
    wraps = all(inner in (child, getattr(child, "module", None)) for child in bare.children())
    return _inner(inner) if wraps else bare


def _precision(model: nn.Module, x: Tensor) -> torch.dtype:
    """That of the weights, but single at least."""
    dtype = next((p.dtype for p in model.parameters()), x.dtype)
    return dtype if dtype == torch.float64 else torch.float32
