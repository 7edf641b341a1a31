r"""Why examples made on one model fool another: inner products of gradients against real attacks.

The attack direction on the source f is $d_f$, eps times the dual direction of $\nabla\ell_f$, inside the box. To first
order the target's loss rises by $\langle\nabla\ell_g, d_f\rangle$, to second by
$\tfrac12 d_f^\top \nabla^2\ell_g\, d_f$ more.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holomorph._utils.cache import Cache
from holomorph._utils.fingerprint import fingerprint
from holomorph._utils.output import output
from holomorph._utils.versions import versions
from holomorph.contract import as_threat, at_least_one, check_labels, gather, gradients
from holomorph.contract.classifier import Classifier
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import ThreatLike
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.records.transfer import MeasuredTransfer, PredictedTransfer, PredictionScore, TransferRecord
from holomorph.threats import ThreatModel
from holomorph.transferability.effects import as_matrix, success
from holomorph.transferability.matrix import Tables, tables
from holomorph.transferability.metrics import Weights, prediction_score
from holomorph.transferability.similarity import parallelogram_bounds

_ATTACKS = ("apgd", "fmn")

#: Attack, direction predicted from, samples counted. A sample that the source misclassifies is its own nearest
#: example: FMN takes no step there, where the rise along the gradient is often the largest.
_SCORED = (
    ("apgd", "gradient", "all"),
    ("fmn", "gradient", "all"),
    ("fmn", "gradient", "right"),
    ("fmn", "own", "right"),
)

#: Below four models the pairs are too few for a score: three leave one number once row and column effects are gone.
_ENOUGH = 4
_ORDERS: tuple[Literal[1, 2], ...] = (1, 2)


@gradients()
def transfer(
    models: Mapping[str, Any],
    x: Any,
    y: Any = None,
    *,
    threat: ThreatLike,
    eps: Sequence[float] | None = None,
    steps: int = 50,
    batch_size: int = 250,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
) -> TransferRecord:
    r"""Measure how examples transfer between models, and how well inner products of gradients predict it.

    $$\Delta\ell_g \approx \langle\nabla\ell_g, d_f\rangle + \tfrac12\, d_f^\top \nabla^2 \ell_g\, d_f, \qquad
    d_f = \varepsilon \arg\max_{\|s\|_p \le 1} \langle\nabla\ell_f, s\rangle$$

    Measured with APGD on the cross-entropy, and with FMN's nearest adversarial example stretched to length eps. The
    prediction is scored from four models on.

    Parameters
    ----------
    models:
        Names and models; two at least, with the same classes, on the same inputs. Left as they were found.
    x, y:
        Samples in the threat's box (batch, ...) and labels (batch,).
    threat:
        Its norm and box; its radius is the eps unless ``eps`` is given.
    eps:
        The radii to attack at, in input units.
    steps:
        Iterations of each attack.
    batch_size:
        Samples at a time.
    seed:
        Of the attacks, the drawn points and the bootstrap.
    out:
        A folder for ``transfer.json``; nothing is written without it.
    resume:
        Go on from what a stopped run has found on each source in ``out``; a finished one is read again.
    force:
        Replace an earlier measurement in ``out``.

    Raises
    ------
    DataError, ModelError
        For data outside the box, fewer than two models, or models whose inputs or classes differ.
    ConfigError
        For steps or a batch size below 1.

    Source: docs/mathematics.md, section 7; our derivation.

    Examples
    --------
    >>> from torch import nn
    >>> models = {"a": nn.Linear(4, 3), "b": nn.Linear(4, 3)}
    >>> x, y = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    >>> record = transfer(models, x, y, threat=ThreatModel("inf", 0.05), steps=5)
    >>> record.models, len(record.predicted[0].increase)
    (('a', 'b'), 2)
    """
    started = time.perf_counter()
    at_least_one(steps=steps, batch_size=batch_size)
    classifiers, x, y, threat = _received(models, x, y, threat, batch_size)
    threats = [ThreatModel(threat.norm, e, threat.box) for e in ([threat.eps] if eps is None else eps)]
    radii, marks = [t.radius for t in threats], [c.mark(x, batch_size) for c in classifiers.values()]
    mark = fingerprint(f"{list(models)} {threat.norm} {threat.box} {radii} {steps} {seed} {marks}", x, y)
    own = output(out, "transfer", ("transfer.json",), work="transfer.parts", resume=resume, force=force)
    with own as place, ExitStack() as stack:
        if place is not None and (done := place.file("transfer.json")).is_file():
            return _finished(done, mark)
        cache = Cache(None if place is None else place.work_folder, mark)
        for classifier in classifiers.values():
            stack.enter_context(under_attack(classifier))
        right = _right(classifiers, x, y)
        options = {"batch_size": batch_size, "seed": seed}
        found = tables(list(classifiers.values()), x, y, threats, steps=steps, cache=cache, **options)
        near = parallelogram_bounds(classifiers, x, threat, **options)
        record = TransferRecord(
            threat=threat, samples=len(x), seed=seed, fingerprint=mark, models=tuple(models),
            clean=tuple(float(v) for v in right.mean(0)), parallelogram=tuple(near), **_matrices(radii, found, right),
            versions=versions("pyautoattack", "foolbox"), seconds=time.perf_counter() - started,
        )  # fmt: skip
        if place is not None:
            record.save(place.file("transfer.json"))
            place.clear_work()
    return record


def _finished(path: Path, mark: str) -> TransferRecord:
    """Read what was measured before, or refuse to take it for something else."""
    record = TransferRecord.load(path)
    if record.fingerprint != mark:
        raise ConfigError(
            f"{path} is of other models, samples or settings. Choose another folder, or give --force (force=True) "
            f"to replace it."
        )
    return record


def _received(
    models: Mapping[str, Any], x: Any, y: Any, threat: ThreatLike, batch_size: int
) -> tuple[dict[str, Classifier], Tensor, Tensor, ThreatModel]:
    """Take models, data and threat at the door; all models see the samples of the first."""
    if len(models) < 2:
        raise DataError("A transfer needs two models at least: one to make the examples on, one to try them on.")
    given = as_threat(threat, getattr(x, "box", (0.0, 1.0)))
    x, y = gather(x, y)
    found = {}
    for name, model in models.items():
        try:
            found[name] = receive(model, x, y, given, batch_size=batch_size).alike()
        except ModelError as error:
            raise ModelError(f"{name!r}: {error}") from error
    first = next(iter(found.values()))
    return {name: received.classifier for name, received in found.items()}, first.x, first.y, given


def _right(models: Mapping[str, Classifier], x: Tensor, y: Tensor) -> NDArray[np.bool_]:
    """Check that the models fit each other; return who is right where, (samples, models)."""
    predictions, classes = [], set()
    for classifier in models.values():
        logits = classifier.logits(x)
        classes.add(logits.shape[1])
        predictions.append(logits.argmax(1) == y)
    if len(classes) > 1:
        raise ModelError(f"The models have different numbers of classes ({sorted(classes)}). Compare like with like.")
    check_labels(y, classes.pop())
    return torch.stack(predictions, 1).cpu().numpy()


def _matrices(radii: Sequence[float], found: Tables, right: NDArray[np.bool_]) -> dict[str, Any]:
    """What attacks found and what gradients predicted, by the record's field."""
    return {
        "attacked": tuple(_attacked(a, r, found, right) for r in radii for a in _ATTACKS),
        "predicted": tuple(_predicted(k, r, found, right) for r in radii for k in _ORDERS),
        "scores": _scores(radii, found, right) if right.shape[1] >= _ENOUGH else (),
    }


def _attacked(attack: str, radius: float, found: Tables, right: NDArray[np.bool_]) -> MeasuredTransfer:
    arrays = found[attack, radius]
    return MeasuredTransfer(
        attack=attack,
        eps=radius,
        increase=as_matrix(arrays.increase.mean(0)),
        success=as_matrix(success(arrays.wrong, right)),
    )


def _predicted(order: Literal[1, 2], radius: float, found: Tables, right: NDArray[np.bool_]) -> PredictedTransfer:
    arrays = found[f"order {order}", radius]
    return PredictedTransfer(
        order=order,
        eps=radius,
        increase=as_matrix(arrays.increase.mean(0)),
        success=as_matrix(success(arrays.wrong, right)),
        shuffled=as_matrix(found["shuffled", radius].increase.mean(0)),
    )


def _scores(radii: Sequence[float], found: Tables, right: NDArray[np.bool_]) -> tuple[PredictionScore, ...]:
    every = np.ones_like(right)
    return tuple(
        prediction_score(
            {"attack": attack, "eps": r, "order": k, "step": step, "counted": counted},
            found[f"{'order' if step == 'gradient' else step} {k}", r],
            found["shuffled", r].increase,
            found[attack, r],
            Weights(right, every if counted == "all" else right),
        )
        for r in radii
        for attack, step, counted in _SCORED
        for k in _ORDERS
    )
