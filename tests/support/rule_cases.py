"""Small networks, batches and settings that the tests of the rules share."""

import dataclasses
import json
from typing import Any

import torch
from torch import Tensor, nn

from holomorph.calculus.measures import Samples
from holomorph.rules import RULES, Rule, build_rule
from holomorph.threats import ThreatModel
from holomorph.training.checkpoint import with_tensors, without_tensors

THREATS = [ThreatModel("inf", 0.1), ThreatModel(2, 0.5), ThreatModel(1, 1.0)]

#: Rules whose risk is taken at attacked points: with weight 0 they are adversarial training, not plain training.
ADVERSARIAL = {"pgd", "awp", "nfgsm", "qub", "fgsm-pgi", "free", "gradalign"}

#: Settings that take all randomness out, where a rule has them.
STILL = {"measure": Samples(), "random_start": False, "noise": 0.0, "sigma": 0.0}

#: Settings that take the defence out.
IDLE = {"weight": 0.0, "curvature": 0.0, "slope": 0.0, "beta": 0.0, "sigma": 0.0, "measure": Samples()}


def network(seed: int = 0, norm: bool = True) -> nn.Sequential:
    """Return a small smooth network in float64 with BatchNorm and Dropout, in training mode."""
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 10), nn.BatchNorm1d(10), nn.GELU(), nn.Dropout(0.3), nn.Linear(10, 3)]
    if not norm:
        layers = [nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3)]
    return nn.Sequential(*layers).double()


def batch(size: int = 8, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return samples in the unit box, and labels of three classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(size, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 3, (size,), generator=generator)


def make(name: str, threat: ThreatModel, settings: dict[str, Any] | None = None, **more: Any) -> Rule:
    """Build a rule with those of the settings that it has."""
    known = {f.name for f in dataclasses.fields(RULES[name]) if f.init}
    return build_rule(name, threat, **{k: v for k, v in {**(settings or {}), **more}.items() if k in known})


def stored(rule: Rule) -> dict[str, Any]:
    """The state of a rule as it comes back from a checkpoint: JSON, and tensors beside it."""
    tensors: dict[str, Tensor] = {}
    return with_tensors(json.loads(json.dumps(without_tensors(rule.state_dict(), "rule", tensors))), tensors)
