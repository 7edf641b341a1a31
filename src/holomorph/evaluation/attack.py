"""One attack by name, its proposals verified: for a look at adversarial inputs rather than at a figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from holomorph.attacks.autoattack import AutoAttackStage
from holomorph.attacks.base import Attack
from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.attacks.numerical import NumericalPgd
from holomorph.attacks.pgd import Pgd
from holomorph.contract import Differentiable
from holomorph.contract.classifier import Classifier
from holomorph.contract.guest import in_single, under_attack
from holomorph.errors import ConfigError, unknown_name
from holomorph.evaluation.evaluate import prepare
from holomorph.evaluation.results import Results
from holomorph.evaluation.runner import Runner
from holomorph.threats import ThreatModel
from holomorph.threats.features import Features, InUnits

#: Every attack by name.
ATTACKS: dict[str, Callable[[ThreatModel, int], Attack]] = {
    "apgd-ce": lambda threat, classes: AutoAttackStage("apgd-ce", threat, classes),
    "apgd-dlr": lambda threat, classes: AutoAttackStage("apgd-dlr", threat, classes),
    "apgd-t": lambda threat, classes: AutoAttackStage("apgd-t", threat, classes),
    "fab-t": lambda threat, classes: AutoAttackStage("fab-t", threat, classes),
    "square": lambda threat, classes: AutoAttackStage("square", threat, classes),
    "fmn": lambda threat, _: FoolboxAttack("fmn", threat),
    "ddn": lambda threat, _: FoolboxAttack("ddn", threat),
    "cw": lambda threat, _: FoolboxAttack("cw", threat),
    "boundary": lambda threat, _: FoolboxAttack("boundary", threat, steps=2000),
    "pgd": lambda threat, _: Pgd(threat, restarts=2),
    "pgd-numerical": lambda threat, _: NumericalPgd(threat, steps=20, limit=None),
}


#: Classes that an attack's loss compares, where they are more than two.
NEEDED = {"apgd-dlr": 3, "apgd-t": 4}


class Attacked(NamedTuple):
    """The nearest adversarial input found for each sample (x itself where none was), what is wrong, and how far.

    ``broken`` are the samples with a wrong prediction inside the threat, ``distance`` the size of the perturbation in
    the threat's norm, infinite where nothing was found.
    """

    adversarial: Tensor
    broken: Tensor
    distance: Tensor


def attack(
    model: Differentiable,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    name: str = "pgd",
    features: Features | None = None,
    seed: int = 0,
    batch_size: int = 250,
) -> Attacked:
    """Run one attack by name on every sample that is classified correctly.

    Parameters
    ----------
    model, x, y, threat, features, seed, batch_size:
        As in :func:`holomorph.evaluate`.
    name:
        ``apgd-ce``, ``apgd-dlr``, ``apgd-t``, ``fab-t``, ``square`` (AutoAttack's), ``fmn``, ``ddn``, ``cw``,
        ``boundary`` (foolbox's), ``pgd`` or ``pgd-numerical`` (ours: these alone know features).

    Raises
    ------
    ConfigError
        For an unknown attack, or one that cannot serve, or a batch size below 1.

    Source: docs/evaluation.md.

    Examples
    --------
    >>> import torch
    >>> linear = lambda x: torch.stack([x[:, 0], x[:, 1]], 1)
    >>> x, y = torch.tensor([[0.7, 0.5]]), torch.tensor([0])
    >>> found = attack(linear, x, y, threat=ThreatModel("inf", 0.2))
    >>> found.broken, bool(found.distance[0] >= 0.1)
    (tensor([True]), True)
    """
    if name not in ATTACKS:
        raise unknown_name("attack", name, ATTACKS)
    if features is not None and name not in ("pgd", "pgd-numerical"):
        raise ConfigError(f"{name} knows one eps and one box for all features. Use pgd or pgd-numerical.")
    runner = Runner(seed, batch_size)
    model = in_single(model)
    x, y = prepare(model, x, y, [threat], features=features)
    if features is not None:
        model, threat, x = InUnits(model, features, x.dtype), features.threat(threat), features.encode(x)
    with under_attack(model):
        classifier = Classifier(model)
        logits = classifier.logits(x)
        results = Results(classifier, x, y, threat, logits.argmax(1))
        rows = results.rows(everyone=True)
        if logits.shape[1] < NEEDED.get(name, 2):
            raise ConfigError(f"{name} needs {NEEDED[name]} classes, the model has {logits.shape[1]}. Use apgd-ce.")
        chosen = ATTACKS[name](threat, logits.shape[1])
        if len(rows):
            proposals = runner.propose(chosen, threat, classifier, x[rows], y[rows])
            results.submit(chosen.name, chosen.access, rows, proposals)
    nearest = results.nearest if features is None else features.decode(results.nearest)
    return Attacked(nearest, ~results.robust, results.smallest)
