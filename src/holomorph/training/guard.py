"""The guard against catastrophic overfitting: gradients that stop agreeing within a threat's ball."""

import math
import warnings
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import generator
from holomorph.calculus.ascent import maximise
from holomorph.calculus.norms import norm, random_in_ball
from holomorph.calculus.observables import loss
from holomorph.calculus.risk_gradient import alignment, gradient_of_risk
from holomorph.contract.classifier import margin
from holomorph.contract.model import Differentiable, Guest, evaluating
from holomorph.contract.units import within
from holomorph.errors import HolomorphWarning
from holomorph.records.training import Epoch
from holomorph.rules import Rule
from holomorph.threats import ThreatModel

#: Samples looked at after each epoch, and the steps of the ascent that tries to break them.
_SAMPLES, _STEPS = 256, 10

#: How often the weight may be doubled before the run goes on without.
DOUBLINGS = 3

#: What the robust accuracy must lose to count as a collapse: a third, and four standard errors of so many samples.
_LOST, _ERRORS = 1 / 3, 4.0

#: From which loss of robust accuracy on a run ends with the weights of its best epoch instead of its last.
WORSE = 0.02


@dataclass(frozen=True)
class Best:
    """The most robust epoch so far, with the weights that the run would have ended with there."""

    robust: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Guard:
    r"""Watches a network while a rule trains it.

    One-step adversarial training fails suddenly: within an epoch the network becomes crooked inside the balls, the
    gradient at x no longer tells where the loss rises at x + u, and robustness against more than one step is gone.
    The mean $\cos(\nabla\ell(x), \nabla\ell(x + u))$ falls to a fraction of what it was, and so does the accuracy under
    an ascent of ten steps; both are watched.

    Parameters
    ----------
    threat:
        Gives the ball, the dual norm and the unit of length.
    x, y:
        A few samples, best such as the network is not trained on.
    restore:
        After a collapse go back to the last good epoch and double the rule's weight; else only warn.

    Source: Andriushchenko and Flammarion 2020 for the alignment; the remedy is our own.
    """

    threat: ThreatModel
    x: Tensor
    y: Tensor
    restore: bool = True

    def measure(self, model: Differentiable) -> dict[str, float]:
        r"""Return what is logged each epoch, on the network in evaluation mode.

        ``alignment``: the mean cosine above, u uniform in the ball and always the same; samples without a
        gradient are left out. ``gradient_energy``: mean $(\varepsilon\|\nabla\ell(x)\|_q)^2$. ``margin``: median
        first-order distance to the boundary $m/\|\nabla m\|_q$ in units of ε, negative where the prediction is wrong.
        ``robust_accuracy``: the share of the samples that are predicted correctly before and after projected ascent
        of ten steps, an upper bound. ``classes``: how many different predictions there are. Without any gradient there
        is neither alignment nor margin.

        >>> x, y = torch.rand(8, 3), torch.tensor([0, 1] * 4)
        >>> linear = nn.Linear(3, 2)
        >>> round(Guard(ThreatModel("inf", 0.1), x, y).measure(linear)["alignment"], 4)
        1.0
        """
        model, x = within(model, self.x, self.threat)
        here = replace(self, x=x)
        with evaluating(Guest(model)) as guest:
            return here._slopes(guest) | here._attacked(guest)

    def _slopes(self, model: nn.Module) -> dict[str, float]:
        threat = self.threat
        x = self.x.detach().requires_grad_()
        u = random_in_ball(x, threat.p, threat.radius, generator(0, "guard"))
        near = (x.detach() + u).clamp(*threat.box).requires_grad_()
        gap = margin(model(x), self.y)
        slope = norm(gradient_of_risk(gap, x), threat.q)
        here = gradient_of_risk(
            loss(model(x), self.y), x
        )  # a pass of its own: compiled code allows one derivative each
        there = gradient_of_risk(loss(model(near), self.y), near)
        found = {"gradient_energy": (threat.radius * norm(here, threat.q)).square().mean().item()}
        if bool(((here != 0) & (there != 0)).any()):
            found["alignment"] = alignment(here, there).item()
        if bool((slope > 0).any()):
            found["margin"] = (gap.detach() / slope)[slope > 0].median().item() / threat.radius
        return found

    def _attacked(self, model: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            predictions = model(self.x).argmax(1)
        moved = maximise(
            lambda z: loss(model(z), self.y), self.x.detach(), self.threat, generator(1, "guard"), steps=_STEPS
        )
        with torch.no_grad():
            robust = (predictions == self.y) & (model(moved).argmax(1) == self.y)
        return {"robust_accuracy": robust.cpu().double().mean().item(), "classes": float(len(predictions.unique()))}

    def collapsed(self, history: list[Epoch]) -> bool:
        """Whether the alignment halved against one of the two epochs before, or a third of the robust accuracy is gone.

        While a rule's radius still grows, a network need not be straight in the whole ball: such epochs do not count
        for the alignment. The robust accuracy is compared with the best epoch, and has to fall by four standard
        errors besides: one false alarm in 30,000 epochs. It counts from as much above that of a constant prediction.
        """
        return _bent(history) or self._broken(history)

    def _broken(self, history: list[Epoch]) -> bool:
        course = [epoch.robust_accuracy for epoch in history if epoch.robust_accuracy is not None]
        if len(course) < 2:
            return False
        best, now = max(course[:-1]), course[-1]
        error = math.sqrt(best * (1 - best) / len(self.y))
        learned = best - self.chance > _ERRORS * error
        return learned and best - now > max(_LOST * best, _ERRORS * error)

    @property
    def chance(self) -> float:
        """The robust accuracy of the best constant prediction, which no attack can lower and nobody wants."""
        return float(torch.bincount(self.y).max()) / len(self.y)

    def react(self, history: list[Epoch], rule: Rule) -> bool:
        """Warn of a collapse; return whether training should go back and take the rule's remedy."""
        course, robust = _course(history), [epoch.robust_accuracy for epoch in history]
        facts = []
        if _bent(history):
            facts.append(f"the gradients' alignment fell from {max(course[:-1]):.2f} to {course[-1]:.2f}")
        if self._broken(history):
            best = max(r for r in robust[:-1] if r is not None)
            facts.append(f"the robust accuracy fell from {100 * best:.0f} to {100 * (robust[-1] or 0.0):.0f} %")
        what = f"In epoch {len(history)} {' and '.join(facts)}"
        goes_back = self.restore and rule.can_strengthen and rule.doublings < DOUBLINGS
        if goes_back:
            text = f"{what}: going back to the epoch before, with twice the {rule.doubled}."
        elif self.restore and rule.can_strengthen:
            text = f"{what} again, after {DOUBLINGS} doublings of the {rule.doubled}. Use a rule with more steps."
        elif rule.can_strengthen:
            text = f"{what}: catastrophic overfitting. Leave the guard on, or use a rule with more steps."
        else:
            text = f"{what}: catastrophic overfitting. Use a rule with more steps, or finite, which mends itself."
        warnings.warn(text, HolomorphWarning, stacklevel=2)
        return goes_back

    def remark(self, history: list[Epoch]) -> None:
        """Warn once of a network that predicts one class for every sample, for five epochs or without any gradient."""
        if _stuck(history) and not _stuck(history[:-1]):
            warnings.warn(
                f"After epoch {len(history)} the network predicts the same class for every sample. If this lasts, "
                "lower the learning rate or let the radius grow: growing(RULE).",
                HolomorphWarning,
                stacklevel=2,
            )


def _stuck(history: list[Epoch]) -> bool:
    constant = [epoch.measured.get("classes") == 1 for epoch in history[-5:]]
    return bool(constant) and constant[-1] and ("alignment" not in history[-1].measured or constant == [True] * 5)


def _bent(history: list[Epoch]) -> bool:
    course = _course(history)
    return len(course) > 1 and max(course[:-1]) > 0 and course[-1] < 0.5 * max(course[:-1])


def _course(history: list[Epoch]) -> list[float]:
    """The last alignments, where the radius was whole and there was a gradient."""
    return [
        epoch.measured["alignment"]
        for epoch in history[-3:]
        if _at_whole_radius(epoch) and "alignment" in epoch.measured
    ]


def _at_whole_radius(epoch: Epoch) -> bool:
    return all(share == 1 for name, share in epoch.measured.items() if name.split("_")[-1] == "radius")


def make_guard(rule: Rule, sample: tuple[Tensor, Tensor], *, restore: bool, device: torch.device) -> Guard | None:
    """Set up the guard of a run on evenly spaced samples; rules without threat or classes have none."""
    if rule.defends_against is None or not rule.supervised:
        return None
    x, y = sample
    chosen = torch.linspace(0, len(x) - 1, min(len(x), _SAMPLES), device=x.device).long()
    labels = y[chosen] if y.ndim == 1 else y[chosen].argmax(1)
    return Guard(rule.defends_against, x[chosen].to(device), labels.to(device), restore)
