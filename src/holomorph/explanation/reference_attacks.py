"""The attacks whose smallest perturbations margins are measured against."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.attacks.base import Attack
from holomorph.attacks.foolbox import FoolboxAttack, minimal_norm
from holomorph.attacks.unit_cube import UnitCube, UnitModel
from holomorph.calculus.norms import norm, per_sample
from holomorph.contract.classifier import Classifier
from holomorph.threats import ThreatModel

#: How many runners-up FAB is aimed at, strongest first; how many of its steps the boundary attack has for one of FMN's.
_RUNNERS_UP, _BOUNDARY = 3, 10

#: The boundary attack starts a little farther than the nearest point, which rounding could put on either side.
_BEYOND = 1.001


@dataclass(frozen=True)
class NearestFAB(AutoAttackStage):
    """AutoAttack's FAB aimed at each of the strongest runners-up, and of the examples found the nearest.

    As part of AutoAttack it leaves a sample alone once some runner-up is reached within eps: right for counting
    survivors, wrong for the smallest perturbation.
    """

    runners_up: int = _RUNNERS_UP

    def __call__(self, classifier: Classifier, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run the attack on one batch; samples for which nothing is found come back unchanged."""
        cube = UnitCube(tuple(x.shape[1:]), x.dtype, self.threat.box)
        run = self._build(UnitModel(classifier, cube), str(x.device), seed)
        best, least = x, torch.full_like(x.flatten(1)[:, 0], math.inf)
        for rank in range(2, 2 + min(self.runners_up, self.classes - 1)):  # the package counts from the predicted class
            run.target_class = rank
            with torch.no_grad():
                made = cube.decode(run.attack_single_run(cube.encode(x), y, is_targeted=True)).clamp(*self.threat.box)
            distance = norm(made - x, self.threat.p)
            nearer = (classifier.predictions(made) != y) & (distance < least)
            best, least = torch.where(per_sample(nearer, x), made, best), torch.where(nearer, distance, least)
        return best


def references(threat: ThreatModel, classes: int, steps: int, *, thorough: bool) -> list[Attack]:
    """FMN, in l_2 DDN; ``thorough`` adds FAB at each of three runners-up, in l_2 the boundary attack.

    The boundary attack, which reads no gradients, has ten times the steps and starts from what the others have found.

    >>> [attack.name for attack in references(ThreatModel(2, 1.0), 10, 100, thorough=True)]
    ['fmn', 'ddn', 'fab-t', 'boundary']
    """
    attacks: list[Attack] = [*minimal_norm(threat, steps)]
    if thorough:
        attacks.append(NearestFAB("fab-t", threat, classes, steps=steps))
        if threat.norm == "2":
            attacks.append(FoolboxAttack("boundary", threat, _BOUNDARY * steps))
    return attacks


class Nearest(NamedTuple):
    """The nearest wrong points that attacks have found, their distances (0: wrong already), FMN's seconds."""

    point: Tensor
    distance: Tensor
    seconds: float


def nearest(
    classifier: Classifier, x: Tensor, y: Tensor, attacks: Sequence[Attack], threat: ThreatModel, seed: int
) -> Nearest:
    """Let every attack have its try at a batch and keep the nearest points at which the model, run again, is wrong.

    Where nothing is found the distance is infinite and the point the sample.

    >>> model, threat = torch.nn.Linear(1, 2), ThreatModel(2, 1.0)
    >>> _ = model.weight.data.copy_(torch.tensor([[-1.0], [1.0]])), model.bias.data.copy_(torch.tensor([0.5, -0.5]))
    >>> attacks = references(threat, 2, 30, thorough=True)
    >>> found = nearest(Classifier(model), torch.tensor([[0.2], [0.8]]), torch.tensor([0, 0]), attacks, threat, 0)
    >>> [round(float(d), 2) for d in found.distance]
    [0.3, 0.0]
    """
    right = classifier.predictions(x) == y
    point, least, seconds = x, torch.full_like(x.flatten(1)[:, 0], math.inf).masked_fill(~right, 0.0), 0.0
    for attack in attacks:
        started = clock(x)
        if isinstance(attack, FoolboxAttack) and attack.name == "boundary":
            beyond = (x + _BEYOND * (point - x)).float().to(x.dtype).clamp(*threat.box)
            rows, made = right & (classifier.predictions(beyond) != y), x.clone()
            if rows.any():
                made[rows] = attack(classifier, x[rows], y[rows], seed, starts=beyond[rows])
        else:
            made = attack(classifier, x, y, seed).clamp(*threat.box)
        seconds += (clock(x) - started) * (attack.name == "fmn")
        distance = norm(made - x, threat.p)
        nearer = (classifier.predictions(made) != y) & (distance < least)
        point, least = torch.where(per_sample(nearer, x), made, point), torch.where(nearer, distance, least)
    return Nearest(point, least, seconds)


def clock(x: Tensor) -> float:
    """Processor time on a CPU, which a busy machine does not stretch; else the wall clock."""
    return time.process_time() if x.device.type == "cpu" else time.perf_counter()
