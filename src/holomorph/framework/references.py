"""The attacks whose smallest perturbations margins are measured against."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.calculus.norms import norm, per_sample
from holomorph.evaluation.autoattack import AutoAttackStage
from holomorph.evaluation.base import Attack
from holomorph.evaluation.foolbox import FoolboxAttack, minimal_norm
from holomorph.evaluation.subject import Subject
from holomorph.evaluation.unit import UnitCube, UnitModel
from holomorph.types import ThreatModel

#: How many rivals FAB is aimed at, strongest first, and what its steps and the boundary attack's are to FMN's.
_RIVALS, _FAB, _BOUNDARY = 3, 0.3, 1


@dataclass(frozen=True)
class NearestFAB(AutoAttackStage):
    """AutoAttack's FAB aimed at each of the strongest rivals, and of the examples found the nearest.

    As part of AutoAttack it leaves a sample alone once some rival is reached within eps: right for counting
    survivors, wrong for the smallest perturbation.
    """

    rivals: int = _RIVALS

    def __call__(self, subject: Subject, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Run the attack on one batch; samples for which nothing is found come back unchanged."""
        cube = UnitCube(tuple(x.shape[1:]), x.dtype, self.threat.box)
        run = self._build(UnitModel(subject, cube), str(x.device), seed)
        best, least = x, torch.full_like(x.flatten(1)[:, 0], math.inf)
        for rank in range(2, 2 + min(self.rivals, self.classes - 1)):  # the package counts from the answer itself
            run.target_class = rank
            with torch.no_grad():
                made = cube.decode(run.attack_single_run(cube.encode(x), y, is_targeted=True)).clamp(*self.threat.box)
            distance = norm(made - x, self.threat.p)
            nearer = (subject.answers(made) != y) & (distance < least)
            best, least = torch.where(per_sample(nearer, x), made, best), torch.where(nearer, distance, least)
        return best


def references(threat: ThreatModel, classes: int, steps: int, *, thorough: bool) -> list[Attack]:
    """FMN, in l_2 DDN; ``thorough`` adds FAB with .3 of the steps for each of three rivals, in l_2 the boundary attack.

    The boundary attack, which reads no gradients, would profit from thousands of steps; it gets as many as FMN.

    >>> [attack.name for attack in references(ThreatModel(2, 1.0), 10, 100, thorough=True)]
    ['fmn', 'ddn', 'fab-t', 'boundary']
    """
    attacks: list[Attack] = [*minimal_norm(threat, steps)]
    if thorough:
        attacks.append(NearestFAB("fab-t", threat, classes, steps=max(1, round(_FAB * steps))))
        if threat.norm == "2":
            attacks.append(FoolboxAttack("boundary", threat, _BOUNDARY * steps))
    return attacks
