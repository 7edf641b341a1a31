"""The guard against catastrophic overfitting: gradients that stop agreeing within a threat's ball."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holomorph._utils.seeding import generator
from holomorph.calculus.norms import norm, random_in_ball
from holomorph.calculus.observables import loss
from holomorph.calculus.risk_gradient import alignment, input_gradient
from holomorph.contract.classifier import margin
from holomorph.contract.model import Guest, evaluating
from holomorph.errors import ConfigError, HolomorphWarning, TrainingError
from holomorph.records.training import Epoch
from holomorph.rules import Rule
from holomorph.threats import ThreatModel

#: Samples looked at after each epoch.
SAMPLES = 128

#: How often the weight may be doubled before training is given up.
DOUBLINGS = 5


@dataclass(frozen=True)
class Guard:
    r"""Watches a network while a rule trains it.

    One-step adversarial training fails suddenly: within an epoch the network becomes crooked inside the balls, the
    gradient at x no longer tells where the loss rises at x + u, and robustness against more than one step is gone.
    The mean $\cos(\nabla\ell(x), \nabla\ell(x + u))$ falls to a fraction of what it was; that is what is watched.

    Parameters
    ----------
    threat:
        Gives the ball, the dual norm and the unit of length.
    x, y:
        A few training samples.
    restore:
        After a collapse go back to the last good checkpoint and double the rule's weight; else only warn.

    Source: Andriushchenko and Flammarion 2020 for the alignment; the remedy is our own.
    """

    threat: ThreatModel
    x: Tensor
    y: Tensor
    restore: bool = False

    def measure(self, model: nn.Module) -> dict[str, float]:
        r"""Return what is logged each epoch, on the network in evaluation mode.

        ``alignment``: the mean cosine above, u uniform in the ball and always the same; samples without a
        gradient are left out. ``gradient_energy``:
        mean $(\varepsilon\|\nabla\ell(x)\|_q)^2$. ``margin``: median first-order distance to the boundary
        $m/\|\nabla m\|_q$ in units of ε, negative where the prediction is wrong.

        >>> x, y = torch.rand(8, 3), torch.tensor([0, 1] * 4)
        >>> linear = nn.Linear(3, 2)
        >>> round(Guard(ThreatModel("inf", 0.1), x, y).measure(linear)["alignment"], 4)
        1.0
        """
        threat = self.threat
        x = self.x.detach().requires_grad_()
        u = random_in_ball(x, threat.p, threat.radius, generator(0, "guard"))
        near = (x.detach() + u).clamp(*threat.box).requires_grad_()
        with evaluating(Guest(model)) as guest:
            logits = guest(x)
            gap = margin(logits, self.y)
            here, slope = input_gradient(loss(logits, self.y), x), input_gradient(gap, x)
            there = input_gradient(loss(guest(near), self.y), near)
        distance = gap.detach() / norm(slope, threat.q).clamp_min(torch.finfo(x.dtype).tiny)
        return {
            "alignment": alignment(here, there).item(),
            "gradient_energy": (threat.radius * norm(here, threat.q)).square().mean().item(),
            "margin": distance.median().item() / threat.radius,
        }

    @staticmethod
    def collapsed(history: list[Epoch]) -> bool:
        """Whether the alignment of the last epoch is less than half that of one of the two before it.

        While a rule's radius still grows, a network need not be straight in the whole ball: such epochs do not count.
        """
        course = _course(history)
        return len(course) > 1 and course[-1] < 0.5 * max(course[:-1])

    def react(self, history: list[Epoch], rule: Rule) -> None:
        """Warn of a collapse; raise if it cannot be mended any more.

        Raises
        ------
        TrainingError
            After too many doublings.
        """
        *before, now = _course(history)
        what = f"In epoch {len(history)} the gradients' alignment fell from {max(before):.2f} to {now:.2f}"
        if not self.restore:
            remedy = "Train with guard=True (--guard), more weight, or a rule with more steps."
            text = f"{what}: catastrophic overfitting. {remedy}"
        elif rule.doublings >= DOUBLINGS:
            raise TrainingError(
                f"{what} again, after {DOUBLINGS} doublings of the {rule.doubled}. Use a rule with more steps."
            )
        else:
            text = f"{what}: going back to the last checkpoint, with twice the {rule.doubled}."
        warnings.warn(text, HolomorphWarning, stacklevel=2)


def _course(history: list[Epoch]) -> list[float]:
    """The last alignments, where the radius was whole."""
    return [epoch.measured["alignment"] for epoch in history[-3:] if _at_whole_radius(epoch)]


def _at_whole_radius(epoch: Epoch) -> bool:
    return all(share == 1 for name, share in epoch.measured.items() if name.split("_")[-1] == "radius")


def make_guard(rule: Rule, sample: tuple[Tensor, Tensor], *, restore: bool, on_disk: bool) -> Guard | None:
    """Set up the guard of a run; rules without a threat have none.

    Raises
    ------
    ConfigError
        If the remedy is asked for where there is no weight to double or no checkpoint to go back to.
    """
    if restore and not rule.can_strengthen:
        raise ConfigError(
            f"The rule {rule.name!r} has no weight that the guard could double. Add one, for instance "
            f"{rule.name} + 0.1*finite, or train without guard."
        )
    if restore and not on_disk:
        raise ConfigError("The guard goes back to checkpoints. Give a folder with out=..., or train without guard.")
    if rule.defends_against is None:
        return None
    x, y = sample
    return Guard(rule.defends_against, x[:SAMPLES], y[:SAMPLES], restore)
