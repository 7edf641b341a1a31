"""Explain a model: margins, energies, harmonicity and the shape of its boundary, in one record."""

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from holomorph._utils.cache import Cache
from holomorph._utils.fingerprint import fingerprint
from holomorph._utils.output import output
from holomorph._utils.progress import track
from holomorph._utils.versions import versions
from holomorph.contract import at_least_one, check_labels, gradients
from holomorph.contract.classifier import Classifier
from holomorph.contract.fused import twice_differentiable
from holomorph.contract.model import suited
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import ThreatLike
from holomorph.errors import ConfigError, DataError, unknown_name
from holomorph.explanation.boundary import boundary
from holomorph.explanation.energies import energies
from holomorph.explanation.harmonicity import harmonicity
from holomorph.explanation.validation import validate_margins
from holomorph.records.explanation import ExplanationRecord
from holomorph.threats import ThreatModel


@dataclass(frozen=True)
class ExplanationTask:
    """What every part of an explanation may use: the model with its samples, and how much work to do."""

    classifier: Classifier
    x: Tensor
    y: Tensor
    threat: ThreatModel
    options: dict[str, Any]
    reference: Tensor | None
    steps: int
    thorough: bool
    cache: Cache

    @property
    def given(self) -> tuple[Classifier, Tensor, Tensor, ThreatModel]:
        """The model, its samples, the threat."""
        return self.classifier, self.x, self.y, self.threat


#: The parts by name, each a field of the record. A new one is a file, a field and a line here.
EXPLANATION_PARTS: dict[str, Callable[[ExplanationTask], Any]] = {
    "margins": lambda t: validate_margins(*t.given, steps=t.steps, thorough=t.thorough, cache=t.cache, **t.options),
    "energies": lambda t: energies(*t.given, **t.options),
    "harmonicity": lambda t: harmonicity(*t.given, **t.options),
    "boundary": lambda t: boundary(*t.given, reference=t.reference, **t.options),
}


@gradients()
def explain(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    threat: ThreatLike,
    reference: Tensor | None = None,
    steps: int = 100,
    thorough: bool = False,
    batch_size: int = 250,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    force: bool = False,
    only: Collection[str] | None = None,
    model_name: str = "",
    data_name: str = "",
) -> ExplanationRecord:
    """Measure on a model what the theory says about its adversarial examples.

    Parameters
    ----------
    model:
        Maps (batch, ...) in the threat's box to logits (batch, K), differentiably: a module or a function. Left as it
        was found.
    x, y:
        As in :func:`holomorph.evaluate`: preferably ones the model was not trained on; 200 to 500 are enough.
    threat:
        What a perturbation may be: norm, radius and box.
    reference:
        Further samples for the neighbours that span the samples' tangent space; x itself unless given.
    steps:
        Of the attacks that the margins are compared with.
    thorough:
        Add slower attacks to that comparison.
    batch_size:
        Samples at a time.
    seed:
        Of everything random.
    out:
        A folder for ``explanation.json``, which is written anew after each part; nothing is written without it.
    resume:
        Go on from the parts, and the attacks' batches, that a stopped run has finished in ``out``.
    force:
        Replace an earlier explanation in ``out``.
    only:
        Which parts of :data:`EXPLANATION_PARTS` to measure; all of them unless given.
    model_name, data_name:
        For the record.

    Raises
    ------
    DataError
        For samples outside the box, one class only, or fewer than 12 samples.
    ConfigError
        For a part of another name, or steps or a batch size below 1.
    ModelError
        If the output is not logits of at least two classes.

    Source: docs/mathematics.md, sections 2, 3, 5 and 6; docs/explanations.md.

    Examples
    --------
    >>> from torch import nn
    >>> from holomorph.threats import ThreatModel
    >>> import torch
    >>> x = torch.rand(40, 2)
    >>> model = nn.Linear(2, 2)
    >>> _ = model.weight.data.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]])), model.bias.data.zero_()
    >>> record = explain(model, x, (x[:, 0] > x[:, 1]).long(), threat=ThreatModel("inf", 0.1), steps=10)
    >>> [agreement.estimate for agreement in record.margins.agreements]
    ['first order', 'analytic', 'analytic, thorough']
    """
    started = time.perf_counter()
    at_least_one(steps=steps, batch_size=batch_size)
    given = receive(model, x, y, threat, batch_size=batch_size).alike()
    classifier, x, y, (threat,) = given.classifier, given.x, given.y, given.threats
    reference = None if reference is None else suited(classifier, reference)
    if len(x) < 12 or len(set(y.tolist())) < 2:
        raise DataError("An explanation needs at least 12 samples of at least two classes.")
    wanted, options = _chosen(only), {"batch_size": batch_size, "seed": seed}
    mark = fingerprint(f"{threat} {threat.box} {steps} {thorough} {seed} {classifier.mark(x, batch_size)}", x, y)
    own = output(out, "explanation", ("explanation.json",), work="explanation.parts", resume=resume, force=force)
    with own as place, under_attack(classifier), twice_differentiable(classifier):
        cache = Cache(None if place is None else place.work_folder, f"{mark} {batch_size}")
        check_labels(y, classifier.logits(x[:2]).shape[1])
        task = ExplanationTask(classifier, x, y, threat, options, reference, steps, thorough, cache)
        empty = ExplanationRecord(
            model=model_name or type(model).__name__, data=data_name, threat=threat, samples=len(x), seed=seed,
            fingerprint=mark, clean=float((classifier.predictions(x) == y).float().mean()),
            versions=versions("foolbox", "pyautoattack"),
        )  # fmt: skip
        record = _filled(empty, wanted, task, None if place is None else place.file("explanation.json"), started)
        if place is not None:
            place.clear_work()
    return record


def _chosen(only: Collection[str] | None) -> list[str]:
    for name in only or ():
        if name not in EXPLANATION_PARTS:
            raise unknown_name("part", name, EXPLANATION_PARTS)
    return [name for name in EXPLANATION_PARTS if only is None or name in only]


def _filled(
    record: ExplanationRecord, wanted: Sequence[str], task: ExplanationTask, path: Path | None, started: float
) -> ExplanationRecord:
    """Work out the parts that are missing, saving after each."""
    before = 0.0
    if path is not None and path.exists():
        earlier = ExplanationRecord.load(path)
        if earlier.fingerprint != record.fingerprint:
            raise ConfigError(
                f"{path} explains another model, other samples or other settings. Choose another folder, or give "
                f"--force (force=True) to replace it."
            )
        record, before = earlier, earlier.seconds
    todo = [name for name in wanted if getattr(record, name) is None]
    for part in track(todo, "explaining"):
        record = record.model_copy(update={part: EXPLANATION_PARTS[part](task)})
        record = record.model_copy(update={"seconds": before + time.perf_counter() - started})
        if path is not None:
            record.save(path)
    return record
