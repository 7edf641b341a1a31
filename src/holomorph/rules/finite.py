"""The finite-size energy: how much the loss rises along a short path of steepest ascent, and its square."""

import dataclasses
import math
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from holomorph.calculus.ascent import ascend, direction
from holomorph.calculus.measures import Ball, Measure
from holomorph.calculus.norms import norm
from holomorph.calculus.risk_gradient import gradient_of_risk
from holomorph.contract.model import evaluating
from holomorph.errors import ConfigError, unknown_name
from holomorph.rules.base import Cost, Rule
from holomorph.rules.bound import logit_bound
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import Pace, scaled
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into

#: The length of a step of a path, as a share of the threat's radius. The steps of its second half are shorter.
_STEP = 0.75

#: From which l_inf radius on, in widths of the box, the path is followed throughout and has a third segment.
_LARGE = 0.15

#: How far x' is drawn, in radii: random points of the l_2 and l_1 balls change an image less than those of l_inf.
_NOISE = {"inf": 1.0, "2": 3.0, "1": 4.0}

#: How much of it a path begins with: in the l_2 ball noise takes the room that the worst direction needs.
_START = {"inf": 1.0, "2": 0.0, "1": 1.0}


@dataclass
class FiniteEnergy(Rule):
    r"""Risk plus the finite-size form of the Dirichlet energy, with no second derivative.

    $$\mathbb{E}\,\ell(x') + w\,\mathbb{E}\,d, \quad d = \ell(x'') - \ell(x'), \quad x' = x + u$$

    The far end is one worst step away, with a part of the noise left out,

    $$x'' = x + \kappa u + \varepsilon s, \quad s \text{ the dual direction of } \nabla\ell(x'),$$

    so that $\mathbb{E}_u\,d = \varepsilon\,\mathbb{E}_u\|\nabla\ell(x')\|_q$ plus terms of second order. This is the
    Dirichlet energy of power 1 with its remainder included.

    The remainder grows during training. In the ``late`` part of training the single step therefore becomes a path of
    ``segments`` inside the threat. The path starts at x', or one radius away if the noise is larger than that, in l_2
    at x itself. Each segment follows the gradient at the end of the one before. With w = $\kappa$ = 1 and one segment
    the rule is N-FGSM.

    With w = 1 the loss at x' cancels, and x' only gives a direction. Directions come from the network in evaluation
    mode: they cost no gradient of a parameter, no statistics and no masks. With other weights both ends are learned
    from, with the same statistics and masks.

    Parameters
    ----------
    threat:
        Norm, radius and box.
    weight:
        w, dimensionless.
    observable:
        ``"loss"`` or ``"logits"``. The latter replaces $\ell(x'')$ by the upper bound
        $\ell(x') + \langle p(x') - e_y, D\rangle + \tfrac14|D|^2$ with $D = h(x'') - h(x')$, the change of the logits
        (:func:`~holomorph.rules.bound.logit_bound`). It is smoother than the loss and costs 1.4 times as much.
    measure:
        Where x' is drawn. By default it is uniform in a ball of r times the threat's radius, with
        $r = \min(a, \sqrt n/4)$, n coordinates, and a = 1, 3 and 4 for l_inf, l_2 and l_1. If you pass a ball, r is
        its scale. For every other measure r is 1.
    kept:
        $\kappa$ in [0, 1], the part of the noise that stays at the far end of a single step; by default
        $\min(1/2, 1/r)$.
    segments, late:
        In the last share ``late`` of training the path has k = ``segments`` segments. The defaults are 2 in the second
        half. Above an l_inf radius of 0.15 of the box they are 3 throughout, because shorter paths can fail there. The
        segments have the lengths $\varepsilon \min(3/4, 3/2\,(1 - j/k))$, j = 0 to k - 1. The guard against
        catastrophic overfitting doubles ``segments``.
    followed:
        Share of each batch whose path goes on after the first segment, in (0, 1]. The least decided samples go on:
        those with the largest $p(1 - p)$. Here p is the label's probability that the first segment is expected to
        leave, $\log p = -\ell(x') - \tfrac34\varepsilon\|\nabla\ell(x')\|_q$. Five segments throughout cost 7.7 passes
        a sample for a third of the batch, and 13 for all of it.
    clip:
        Keep $x''$ inside the box.
    ramp:
        Share of training after which the whole radius is reached at the latest. Before that, radius and default noise
        grow from 0 as fast as the network follows (:class:`~holomorph.rules.schedule.Pace`). With 0 the radius is
        whole from the start, and hard data may be learned late or never.

    Raises
    ------
    ConfigError
        For a negative weight or a setting outside its range.

    Source: docs/mathematics.md, section 2. Our own; it joins the finite differences of Finlay and Oberman 2019
    with the noisy point of de Jorge et al. 2022.

    Examples
    --------
    >>> import torch
    >>> rule = FiniteEnergy(ThreatModel("inf", 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "finite"
    doubled = "segments"  # a longer path sees what a single step misses

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 1.0
    observable: str = "loss"
    measure: Measure | None = None
    kept: float | None = None
    segments: int | None = None
    late: float | None = None
    followed: float = 1.0
    clip: bool = True
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.threat.box
        large = self.threat.norm == "inf" and self.threat.radius > _LARGE * (high - low)
        self.segments = (3 if large else 2) if self.segments is None else self.segments
        self.late = (1.0 if large else 0.5) if self.late is None else self.late
        self.pace = Pace()
        self.require_positive("segments")
        self.require_not_negative("weight")
        if self.observable == "logits" and self.risk_function is not None:
            raise ConfigError(
                "The bound by the logits is one of the cross-entropy. Leave risk_function or observable out."
            )
        if self.observable not in ("loss", "logits"):
            raise unknown_name("observable of the rule 'finite'", self.observable, ("loss", "logits"))
        for name, share in (("kept", self.kept), ("late", self.late), ("ramp", self.ramp)):
            if share is not None and not 0 <= share <= 1:
                raise ConfigError(f"{name} is {share}; give a share in [0, 1].")
        if not 0 < self.followed <= 1:
            raise ConfigError(f"followed is {self.followed}; give a share in (0, 1].")

    def _double(self) -> None:
        super()._double()
        self.late = 1.0  # followed from now on

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and the radius of now."""
        return {**super().state_dict(), "pace": dataclasses.asdict(self.pace)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self.pace = Pace(**state.get("pace", {}))

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk at the drawn points plus the weighted rise along the path from there."""
        share = self.pace.share(self.progress, self.ramp, x)
        threat = scaled(self.threat, share)
        measure = self.measure or Ball(threat, scale=self._scale(x))
        near = measure.draw(x, self.generator, y, self.sample_loss(model, y)).detach().requires_grad_()
        if self.weight == 0:
            return self.risk(model(near.detach()), y).mean()
        passes = Passes(model)
        with evaluating(model) if self._cancels else nullcontext():
            logits = (model if self._cancels else passes.first)(near)
        here = self.risk(logits, y)
        if self._cancels:
            gradient = gradient_of_risk(here, near)
        else:
            gradient = passes.slope(near, here, lambda logits: self.risk(logits, y))
        near = near.detach()
        with evaluating(model):
            end = self._far(model, threat, x, near, here.detach(), gradient, y)
        far = (model if self._cancels else passes.again)(end)
        there = self.risk(far, y)
        if self.progress < self.ramp:
            self.pace.follow(there.detach().mean(), y, far.shape[1])
        self.measured = _seen(here.detach(), there.detach(), gradient, end - near) | {"radius": torch.as_tensor(share)}
        if self._cancels:
            return there.mean()
        if self.observable == "logits":
            there = logit_bound(logits, far, y, label_smoothing=self.label_smoothing)
        return (1 - self.weight) * here.mean() + self.weight * there.mean()

    @property
    def _cancels(self) -> bool:
        """Whether the loss at x' cancels: then nothing but a direction is left of the near end."""
        return self.weight == 1 and self.observable == "loss"

    @property
    def _path(self) -> tuple[int, float]:
        """Segments, and the share of training that follows them, which ``__post_init__`` has filled in."""
        return cast(int, self.segments), cast(float, self.late)

    def _scale(self, x: Tensor) -> float:
        """Radius of the noise, in radii of the threat: where coordinates are few, random points reach worst ones."""
        if self.measure is not None:
            return self.measure.scale if isinstance(self.measure, Ball) else 1.0
        return min(_NOISE[self.threat.norm], math.sqrt(x[0].numel()) / 4)

    def _far(
        self, model: nn.Module, threat: ThreatModel, x: Tensor, near: Tensor, here: Tensor, gradient: Tensor, y: Tensor
    ) -> Tensor:
        """The far ends: one step in all, or a path inside the threat of now when it is late."""
        eps, s, scale = threat.radius, direction(gradient, near, threat), self._scale(x)
        segments, late = self._path
        if segments == 1 or self.progress <= 1 - late:
            kept = 1 / max(2.0, scale) if self.kept is None else self.kept
            end = x + kept * (near - x) + eps * s
            return end.clamp(*threat.box) if self.clip else end
        start = _START[threat.norm] / max(1.0, scale)
        z = into(x, x + start * (near - x) + _STEP * eps * s, threat)
        if self.followed == 1:
            return self._follow(model, threat, x, z, y)
        part = self._undecided(threat, here, gradient)
        return z.index_copy(0, part, self._follow(model, threat, x[part], z[part], y[part]))

    def _follow(self, model: nn.Module, threat: ThreatModel, x: Tensor, z: Tensor, y: Tensor) -> Tensor:
        """The further segments of a path."""
        segments, _ = self._path
        for j in range(1, segments):
            step = threat.radius * min(_STEP, 2 * _STEP * (1 - j / segments))
            z = ascend(lambda z: self.risk(model(z), y), x, z, threat, steps=1, step=step)
        return z

    def _undecided(self, threat: ThreatModel, here: Tensor, gradient: Tensor) -> Tensor:
        """Whose answer hangs on the rest of the path: not those fooled already, nor those that will not be."""
        rise = _STEP * threat.radius * norm(gradient, threat.q)
        p = torch.exp(-here - rise)
        return (p * (1 - p)).topk(max(1, round(self.followed * len(p)))).indices

    @property
    def cost(self) -> Cost:
        """A pass either way at each end, less at a near end whose loss cancels; further segments."""
        if self.weight == 0:
            return Cost(1, 1)
        near = 0.5 if self._cancels else 1.5
        segments, late = self._path
        further = (segments - 1) * late * self.followed
        return Cost(2 + further, 1 + near + further / 2)


def _seen(here: Tensor, there: Tensor, gradient: Tensor, way: Tensor) -> dict[str, Tensor]:
    """The risk, its rise, and the part of the rise that the gradient at the near end had promised."""
    rise, promised = (there - here).mean(), (gradient * way).flatten(1).sum(1).mean()
    return {"risk": here.mean(), "rise": rise, "linearity": rise / promised.clamp_min(torch.finfo(rise.dtype).tiny)}
