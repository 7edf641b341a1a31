"""One attack by name, its proposals verified: for a look at adversarial inputs rather than at a figure."""

from typing import Any, NamedTuple

from torch import Tensor

from holomorph.attacks.base import Situation
from holomorph.attacks.registry import named
from holomorph.contract import check_labels, gradients
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import ThreatLike
from holomorph.evaluation.results import Results
from holomorph.evaluation.runner import Runner
from holomorph.threats.features import Features


class Adversarial(NamedTuple):
    """The nearest adversarial input found for each sample (x itself where none was), what is wrong, and how far.

    ``broken`` are the samples with a wrong prediction inside the threat, ``distance`` the size of the perturbation in
    the threat's norm, infinite where nothing was found.
    """

    adversarial: Tensor
    broken: Tensor
    distance: Tensor


@gradients()
def attack(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    threat: ThreatLike | tuple[()] = (),
    name: str = "pgd-margin",
    features: Features | None = None,
    seed: int = 0,
    batch_size: int = 250,
) -> Adversarial:
    """Run one attack by name on every sample that is classified correctly.

    Parameters
    ----------
    model, x, y, threat, features, seed, batch_size:
        As in :func:`holomorph.evaluate`.
    name:
        One of :data:`holomorph.attacks.registry.REGISTRY`: ``apgd-ce``, ``apgd-dlr``, ``apgd-t``, ``fab-t`` and
        ``square`` are AutoAttack's, ``fmn``, ``ddn``, ``cw`` and ``boundary`` foolbox's; the others also know features.

    Raises
    ------
    ConfigError
        For an unknown attack, or one that cannot serve, or a batch size below 1.

    Source: docs/evaluation.md.

    Examples
    --------
    >>> from holomorph.threats import ThreatModel
    >>> import torch
    >>> linear = lambda x: torch.stack([x[:, 0], x[:, 1]], 1)
    >>> x, y = torch.tensor([[0.7, 0.5]]), torch.tensor([0])
    >>> found = attack(linear, x, y, threat=ThreatModel("inf", 0.2))
    >>> found.broken, bool(found.distance[0] >= 0.1)
    (tensor([True]), True)
    """
    runner = Runner(seed, batch_size)
    given = receive(model, x, y, threat, batch_size=batch_size, features=features).in_units()
    classifier, x, y, (asked,) = given.classifier, given.x, given.y, given.threats
    with under_attack(classifier):
        logits = classifier.logits(x)
        check_labels(y, logits.shape[1])
        results = Results(classifier, x, y, asked, logits.argmax(1))
        rows = results.rows(everyone=True)
        chosen = named(name, Situation(asked, logits.shape[1], masked=True, grid=given.grid))
        if len(rows):
            proposals = runner.propose(chosen, asked, classifier, x[rows], y[rows])
            results.submit(chosen.name, chosen.needs.access, rows, proposals)
    nearest = results.nearest if given.features is None else given.features.decode(results.nearest)
    return Adversarial(nearest, ~results.robust, results.smallest)
