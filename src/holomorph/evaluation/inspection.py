"""What has to be known of a model before attacks are chosen: its classes, its memory, and whether its gradients lie."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from holomorph.calculus.norms import norm, random_in_ball
from holomorph.contract import check_labels
from holomorph.contract.classifier import Classifier
from holomorph.errors import ModelError
from holomorph.threats import ThreatModel
from holomorph.threats.constraints import into, movable
from holomorph.threats.grid import Grid

#: Samples looked at; those of the dearer looks, and directions in each of them.
_SAMPLES, _FEW, _DIRECTIONS = 128, 24, 8

#: The least agreement of gradient and differences at which attacks go by the gradient.
AGREES = 0.5


@dataclass(frozen=True)
class Behaviour:
    """Whether what was asked before, or in the same batch, changes a model's logits by more than rounding."""

    stateful: bool = False
    batch_dependent: bool = False


@dataclass(frozen=True)
class Inspection:
    """Number of classes, and how the model behaves on a few samples.

    ``spread`` is the largest relative change of a sample's logits between five passes, ``zero_gradients`` the
    share of samples whose cross-entropy gradient is exactly zero in every coordinate (None: no gradient at all);
    ``behaviour`` says whether earlier questions, or the rest of a batch, change the logits.
    """

    classes: int
    spread: float
    zero_gradients: float | None
    behaviour: Behaviour = field(default_factory=Behaviour)

    @property
    def randomised(self) -> bool:
        """Passes differ by more than rounding."""
        return self.spread > 1e-4

    @property
    def differentiable(self) -> bool:
        """Whether the output depends differentiably on the input."""
        return self.zero_gradients is not None

    @property
    def masked(self) -> bool:
        """Whether gradient attacks have nothing to go by on more than one sample in a hundred."""
        return self.zero_gradients is None or self.zero_gradients > 0.01


def examine(classifier: Classifier, x: Tensor, y: Tensor) -> Inspection:
    """Look at a few samples.

    Raises
    ------
    ModelError
        For outputs that are not finite.
    DataError
        For labels that the model has no output for.
    """
    few, labels = x[:_SAMPLES], y[:_SAMPLES]
    passes = [classifier.logits(few) for _ in range(5)]
    first = passes[0]
    if not first.isfinite().all():
        raise ModelError("The model returns NaN or infinite logits on clean samples. Check its weights and scaling.")
    if first.shape[1] < 2:
        raise ModelError("The model has one class only.")
    check_labels(y, first.shape[1])
    scale = first.norm(dim=1).clamp_min(1e-12)
    spread = max(float(((other - first).norm(dim=1) / scale).max()) for other in passes[1:])
    return Inspection(first.shape[1], spread, zero_gradient_share(classifier, few, labels))


def zero_gradient_share(classifier: Classifier, x: Tensor, y: Tensor) -> float | None:
    """Share of samples with an exactly zero gradient of the cross-entropy; None where there is no gradient."""
    if not classifier.differentiable:
        return None
    _, gradient = classifier.slope(x, entropies, y)
    return None if gradient is None else float((gradient.flatten(1).abs().amax(1) == 0).cpu().double().mean())


def entropies(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each sample."""
    return cross_entropy(logits, y, reduction="none")


@torch.no_grad()
def observe(classifier: Classifier, x: Tensor, threat: ThreatModel) -> Behaviour:
    """Ask the same points in another history, order and company, each time from the model's first state.

    Raises
    ------
    ModelError
        For a model that cannot predict a sample alone.
    """
    few = x[:_FEW]
    noise = random_in_ball(few, threat.p, threat.radius, torch.Generator().manual_seed(0))
    near = into(few, few + movable(noise, threat), threat)

    def ask(points: Tensor, before: tuple[Tensor, ...] = ()) -> Tensor:
        classifier.restore()
        for part in before:
            classifier.logits(part)
        torch.manual_seed(0)
        return classifier.logits(points)

    fresh = ask(near)
    slack = tolerance(fresh) + 16 * (ask(near * (1 + torch.finfo(near.dtype).eps)) - fresh).abs().amax()
    stateful = any(_apart(ask(near, before), fresh, slack) for before in ((few,), (near,) * 5))
    torch.manual_seed(1)
    if _apart(classifier.restore().logits(near), fresh, slack):  # noise: another order draws other numbers
        return Behaviour(stateful=stateful)
    singles = torch.cat([_alone(classifier, point) for point in torch.split(near[:8], 1)])
    company = _apart(singles, fresh[: len(singles)], slack) or _apart(ask(near.flip(0)).flip(0), fresh, slack)
    classifier.restore()
    return Behaviour(stateful=stateful, batch_dependent=company)


def _alone(classifier: Classifier, point: Tensor) -> Tensor:
    try:
        return classifier.restore()(point)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelError(
            f"The model cannot predict a sample alone: {reason}. An adversarial input must fool it whatever else is "
            "asked; give normalisation layers running statistics, or a model that takes batches of one."
        ) from error


def tolerance(logits: Tensor) -> Tensor:
    """How far two passes over the same points may differ: the order of a sum depends on the batch, more so on GPUs."""
    share = 64 * torch.finfo(logits.dtype).eps if logits.device.type == "cpu" else 5e-3
    return share * logits.abs().amax()


def _apart(a: Tensor, b: Tensor, slack: Tensor) -> bool:
    return not bool(((a - b).abs() <= slack).all())


def gradient_agreement(
    classifier: Classifier, x: Tensor, y: Tensor, threat: ThreatModel, generator: torch.Generator
) -> float | None:
    r"""The mean cosine, over samples, between predicted and actual changes of the margin in several directions.

    $$\tfrac12\langle\nabla m(x+d) + \nabla m(x-d),\, 2d\rangle \quad\text{against}\quad m(x+d) - m(x-d)$$

    with d of half the threat's size and m the lead over the runner-up at x: steps of the attack's size, for which
    the trapezoidal rule is exact up to third order. 1 for a linear model; about 0 where gradients say nothing. None
    where neither changes anything.
    """
    x, y = x[:_FEW], y[:_FEW]
    runner_up = classifier.logits(x).scatter(1, y[:, None], -torch.inf).argmax(1)
    predicted, actual = [], []
    for _ in range(_DIRECTIONS):
        d = 0.5 * movable(_edge(x, threat, generator), threat)
        up, down = into(x, x + d, threat), into(x, x - d, threat)
        (high, above), (low, below) = (_slope(classifier, z, y, runner_up) for z in (up, down))
        actual.append(high - low)
        predicted.append((0.5 * (above + below) * (up - down)).flatten(1).sum(1))
    p, a = (torch.stack(found, 1).cpu().double() for found in (predicted, actual))
    sizes = p.norm(dim=1) * a.norm(dim=1)
    still = (p.norm(dim=1) + a.norm(dim=1)) <= 1e-9
    if bool(still.all()):
        return None
    cosine = (p * a).sum(1) / sizes.clamp_min(torch.finfo(torch.float64).tiny)
    return float(cosine[~still].mean())


def _edge(x: Tensor, threat: ThreatModel, generator: torch.Generator) -> Tensor:
    """A random direction as long as the threat allows: corners in l_inf, the sphere in l_2, few features in l_1."""
    drawn = random_in_ball(x, threat.p, 1.0, generator)
    if threat.norm == "inf":
        return threat.radius * drawn.sign()
    return threat.radius * drawn / norm(drawn, threat.p).clamp_min(1e-12).reshape(-1, *(1,) * (x.ndim - 1))


def _slope(classifier: Classifier, z: Tensor, y: Tensor, runner_up: Tensor) -> tuple[Tensor, Tensor]:
    """The lead at each point, as a plain pass has it, and its gradient."""
    _, gradient = classifier.slope(z, _lead, y, runner_up)
    gradient = torch.zeros_like(z) if gradient is None else gradient.nan_to_num()
    return _lead(classifier.logits(z), y, runner_up), gradient


def _lead(logits: Tensor, y: Tensor, runner_up: Tensor) -> Tensor:
    return (logits.gather(1, y[:, None]) - logits.gather(1, runner_up[:, None]))[:, 0]


def off_grid_jump(classifier: Classifier, grid: Grid, x: Tensor, generator: torch.Generator) -> float:
    r"""How much more the logits change between the grid's points than from one point to the next.

    $$\frac{\mathrm{median}\,\|f(x + u) - f(x)\|}{\mathrm{median}\,\|f(x + s) - f(x)\|}$$

    with u uniform within 0.4 steps and s one step up or down in every feature; about 0.4 for a smooth model.
    """
    step = grid.step.to(x.device)
    u = (torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device) * 0.8 - 0.4) * step
    s = (torch.randint(0, 2, x.shape, generator=generator).to(x.device) * 2 - 1) * step
    here = classifier.logits(x)
    size = [(classifier.logits((x + d).to(x.dtype)) - here).norm(dim=1).median() for d in (u, s)]
    floor = 1e-6 * here.norm(dim=1).median()
    return float((size[0] - floor).clamp_min(0) / size[1].clamp_min(floor).clamp_min(torch.finfo(here.dtype).tiny))
