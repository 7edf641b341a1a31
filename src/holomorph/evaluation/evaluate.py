"""The evaluation: every attack against every threat, each proposal verified, the worst counted sample by sample."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from holomorph._utils.cache import Cache
from holomorph._utils.output import output
from holomorph.attacks.base import Effort
from holomorph.contract import Differentiable, gradients
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import ThreatsLike
from holomorph.data import Splits
from holomorph.errors import ConfigError
from holomorph.evaluation.attacking import Task, attack_baseline, attack_until, quickened
from holomorph.evaluation.proving import with_certificate
from holomorph.evaluation.runner import Processes, Runner
from holomorph.evaluation.sequential import Stopping
from holomorph.evaluation.summary import Description, to_record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.threats.features import Features

#: What an evaluation leaves in its folder, and where its finished batches lie meanwhile.
WRITES = ("evaluation", ("evaluation.json", "evaluation.npz"))
WORK = "evaluation.state"

#: Seconds for proofs in a quick evaluation.
QUICK_PROOF = 10.0


@gradients()
def evaluate(
    model: Any,
    x: Any,
    y: Any = None,
    threat: ThreatsLike = (),
    *,
    quick: bool = False,
    thorough: bool = False,
    baseline: Differentiable | None = None,
    features: Features | None = None,
    seed: int = 0,
    n: int | None = None,
    decide: float | None = None,
    precision: float | None = None,
    batch_size: int = 250,
    checks: bool = True,
    prove: float = 60.0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    fabric: Processes | None = None,
    model_name: str = "",
    data_name: str = "",
    training_cost: float | None = None,
    source: dict[str, str] | None = None,
    class_names: Sequence[str] = (),
) -> EvaluationRecord:
    r"""Attack a classifier as a sceptical reviewer would, and check the attacks themselves.

    $$\text{robust} = \frac1n \#\{i : h(x_i + \delta) = y_i \text{ for every } \delta \text{ that any attack found
    inside any of the threats}\}$$

    Parameters
    ----------
    model:
        Maps (batch, ...) to logits (batch, classes), or to one output a sample: a module, a function, or a fitted
        estimator of scikit-learn. A module in training mode is put in evaluation mode and every part gets its own
        mode back.
    x, y:
        Samples inside the threat's box and class indices from 0: tensors or arrays. Instead of both a pair, a
        ``Dataset``, a ``DataLoader`` or ``Splits``, of which the test part is taken.
    threat:
        One threat or several, objects or texts such as ``"inf:8/255,2:0.5"``; with several,
        ``robust`` is the accuracy under their union. Left out for an estimator of this package, or a pipeline that ends
        with one: then it is what the estimator was trained for, in the units of what reaches it.
    quick:
        An upper bound in about a minute, checks included: cheap attacks on at most 95 samples, fewer under several
        threats or where the model is slow; the record says that it is one.
    thorough:
        Further attacks: ten starts, numerical gradients on every sample, and the boundary attack.
    baseline:
        An undefended model of the same shape, attacked likewise: attacks that do not break it prove nothing. The
        record also holds the paired differences to it.
    features:
        Eps and range of each feature, frozen ones among them; the threats then count in these eps, and our own
        attacks are run, since the packages know one eps and one box for all. ``features.threat("inf:1")`` brings them.
    seed, batch_size:
        As in AutoAttack's own script: the same values give the same numbers.
    n:
        Use the first n samples.
    decide, precision:
        Take the samples in a random order and stop as soon as the robust accuracy is above or below the share
        ``decide``, or known to ``precision`` points; the interval holds whenever one stops.
    checks:
        Whether to run the evaluator's checks of itself; see docs/evaluation.md.
    prove:
        Seconds for proofs by :func:`holomorph.certify`, 10 at most in a quick evaluation; 0 for none. The record holds
        the certificate, and its report states what is proved beside what is attacked.
    out:
        A folder for ``evaluation.json``, and for the adversarial inputs, ``evaluation.npz``, which
        :func:`holomorph.audit` verifies. Nothing is written without it.
    resume:
        Go on from the batches that a stopped evaluation has finished in ``out``; it ends with the same numbers.
    force:
        Replace an earlier evaluation in ``out``.
    fabric:
        A launched ``lightning.fabric.Fabric``; batches are shared among its processes.
    model_name, data_name, training_cost, source:
        For the record: what was evaluated, on what, the cost of training relative to plain training, and how an
        audit loads the model again.
    class_names:
        Of the classes in the order of their labels, for the report; those of the data set or estimator unless given.

    Raises
    ------
    DataError, ModelError, ConfigError
        For inputs, labels, outputs or threats that cannot be evaluated.
    MissingExtraError
        When the attack packages are not installed.

    Source: docs/evaluation.md; Croce and Hein, ICML 2020; Carlini et al. 2019.

    Examples
    --------
    >>> from torch import nn
    >>> from holomorph.threats import ThreatModel
    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> _ = model[0].weight.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x, y = torch.tensor([[0.9, 0.1], [0.52, 0.48]]), torch.tensor([0, 0])
    >>> record = evaluate(model, x, y, ThreatModel("inf", 0.1), quick=True, checks=False)
    >>> record.clean, record.robust
    (1.0, 0.5)
    """
    started = time.perf_counter()
    stopping, runner = Stopping(decide, precision), Runner(seed, batch_size, fabric=fabric)
    received = receive(model, x, y, threat, n=n, batch_size=batch_size, features=features, first=True)
    given, effort = received.in_units(), _effort(quick=quick, thorough=thorough)
    undefended = None if baseline is None else given.likewise(baseline)
    names = model_name or type(model).__name__, data_name or (x.name if isinstance(x, Splits) else "")
    classes = tuple(class_names) or given.names
    description = Description(*names, training_cost, source or {}, given.features, given.dtype, classes)
    own = output(out, *WRITES, work=WORK, resume=resume, force=force, holds=runner.first)
    with own as place, under_attack(given.classifier), under_attack(undefended or given.classifier):
        if place is not None:
            marks = [c.mark(given.x) for c in (given.classifier, undefended) if c is not None]
            runner = replace(runner, cache=Cache(place.file(WORK), "".join(marks)))
        torch.manual_seed(seed)
        task = Task(given.classifier, given.x, given.y, given.threats, runner, effort, given.grid, undefended)
        task = quickened(task) if quick else task
        found, answer = attack_until(task, stopping)
        other = attack_baseline(task, found.rows)
        keep = None if place is None else place.file("evaluation.npz")
        record = to_record(found, other, description, run_checks=checks, keep=keep, started=started, stopped=answer)
        if prove > 0 and runner.first:
            seconds = min(prove, QUICK_PROOF) if quick else prove
            record = with_certificate(record, received, found.rows, seconds)
        if place is not None and runner.first:
            record.save(place.file("evaluation.json"))
            place.clear_work()
    return record


def _effort(*, quick: bool, thorough: bool) -> Effort:
    if quick and thorough:
        raise ConfigError("An evaluation is quick or thorough, not both. Drop one of the two.")
    return "quick" if quick else "thorough" if thorough else "full"
