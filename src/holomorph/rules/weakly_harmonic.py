"""The weakly-harmonic rule: the Euler-Lagrange equation of the Dirichlet rule, tested on ridge functions."""

from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from holomorph._utils.seeding import normal
from holomorph.calculus.norms import noise_length
from holomorph.contract.labels import class_indices
from holomorph.errors import ConfigError
from holomorph.rules.base import Cost, Rule
from holomorph.rules.passes import Passes
from holomorph.rules.schedule import ramped
from holomorph.threats import ThreatModel

#: Mean square of a ridge's slope times its width, below which so few samples lie on it that it tests nothing: about a
#: tenth of the batch. Such are ridges through the ends of their own direction, and all of them on a batch of one.
_LEAST = 0.02


@dataclass
class WeaklyHarmonic(Rule):
    r"""Risk plus the residual of the weak form of the Dirichlet rule.

    At x' = x + u with Gaussian u, and with p = softmax h, the rule minimises

    $$\mathbb{E}\,\ell + w\,\frac{1}{JK}\sum_{j,k} r_{jk}^2, \qquad
    r_{jk} = \frac{\mathbb{E}[(p_k - y_k)\,\psi_j] + \lambda\sigma^2\,\mathbb{E}\langle\nabla h_k,
    \nabla\psi_j\rangle}{(\sigma^2\,\mathbb{E}|\nabla\psi_j|^2)^{1/2}}$$

    Every r vanishes where h minimises risk plus $\frac{\lambda\sigma^2}{2}\mathbb{E}|\nabla h|^2$ at the drawn points.
    No derivative of the network is needed: with deviation s of each coordinate of u, integration by parts moves it onto
    the test function,

    $$\mathbb{E}\langle\nabla h, \nabla\psi\rangle = \mathbb{E}\Big[\big(h(x + u) - h(x)\big)
    \Big(\frac{\langle u, \nabla\psi\rangle}{s^2} - \Delta\psi\Big)\Big],$$

    gradient and Laplacian of ψ taken at x + u; h(x), which adds 0 on average, keeps the variance small. So all J test
    functions share two passes. They are ridges $\psi_j = \exp(-t_j^2/2)$, $t_j = (\langle a_j, x'\rangle - b_j)/s_j$,
    along unit vectors $a_j$ from one random sample of the batch to another, through random samples, of width
    $s_j$ = ``width`` standard deviations of $\langle a_j, x'\rangle$ over the batch. Along differences of samples
    networks change far more than along random vectors, so that the rule also works for hundreds of inputs.

    A residual is a mean over the batch, so its square is too large by its variance divided by the batch size: about
    $\lambda^2\sigma^2\,\mathbb{E}|\nabla h|^2/B$, which is a Dirichlet energy and does no harm.

    Parameters
    ----------
    threat:
        Norm, radius and box. σ is the length of noise in its ball (root mean square), and u has this length, too; it
        may leave the box.
    weight:
        w; grows linearly from 0 over the first ``ramp`` of training.
    strength:
        λ, the weight of the energy in the equation.
    functions:
        J, drawn anew at every call.
    width:
        Of the ridges, in standard deviations.

    Source: docs/mathematics.md, section 2. Barati et al. 2023 speak of weakly-harmonic hypotheses; this form of the
    residual is our own.

    Examples
    --------
    >>> rule = WeaklyHarmonic(ThreatModel(2, 0.1))
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 3))
    >>> rule(model, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).backward()
    """

    name = "weakly-harmonic"

    threat: ThreatModel
    _: KW_ONLY
    weight: float = 10.0
    strength: float = 1.0
    functions: int = 256
    width: float = 1.0
    ramp: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("functions")
        if not (self.weight >= 0 and self.strength >= 0 and self.width > 0):
            raise ConfigError("weight and strength must not be negative, and width must be positive.")

    def loss(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Risk plus the mean squared residual."""
        passes = Passes(model)
        if self.weight == 0:
            return self.risk(passes.first(x), y).mean()
        length = noise_length(x, self.threat)
        drawn = x + length / x[0].numel() ** 0.5 * normal(x.shape, x, self.generator)
        logits = passes.first(drawn)
        risk = self.risk(logits, y).mean()
        change = self.strength * length**2 * (logits - passes.again(x)).to(x.dtype)
        source = logits.to(x.dtype).softmax(1) - one_hot(class_indices(y), logits.shape[1])
        mixed = torch.amp.is_autocast_available(x.device.type)
        with (
            torch.autocast(x.device.type, enabled=False) if mixed else nullcontext()
        ):  # divisions by small deviations overflow half precision
            residual = self._residual(x.flatten(1), drawn.flatten(1), source, change, length)
        self.measured = {"risk": risk.detach(), "residual": residual.detach()}
        return risk + ramped(self.weight, self.progress, self.ramp) * residual

    def _residual(self, x: Tensor, drawn: Tensor, source: Tensor, change: Tensor, length: float) -> Tensor:
        """Mean of r² over the test functions and the outputs."""
        value, slope, by_parts, scale = self._ridges(x, drawn, length / x.shape[1] ** 0.5)
        weak = (value.T @ source + by_parts.T @ change) / len(x)
        steepness = slope.square().mean(0)[:, None]
        tests = steepness * scale.square()[:, None] > _LEAST
        squares = weak.square() / steepness.masked_fill(~tests, 1.0) / length**2
        return (squares * tests).mean()

    def _ridges(self, x: Tensor, drawn: Tensor, deviation: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""Of each test function ψ, its slope along a, $\langle u, \nabla\psi\rangle/s^2 - \Delta\psi$, its width."""
        picked = torch.randint(len(x), (3, self.functions), generator=self.generator, device=self.generator.device)
        one, other, centre = picked.to(x.device)
        a = x[one] - x[other]
        a = a / a.norm(dim=1, keepdim=True).clamp_min(torch.finfo(x.dtype).eps)
        heights = drawn @ a.T
        scale = self.width * heights.std(0, correction=0) + deviation
        t = (heights - heights.gather(0, centre[None])) / scale
        value = (-t.square() / 2).exp()
        slope = -t / scale * value
        bend = (t.square() - 1) / scale**2 * value
        return value, slope, (drawn - x) @ a.T * slope / deviation**2 - bend, scale

    @property
    def cost(self) -> Cost:
        """The drawn points and the samples."""
        return Cost(2, 2) if self.weight > 0 else Cost(1, 1)
