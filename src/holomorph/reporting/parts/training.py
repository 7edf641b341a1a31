"""How training went: loss, validation accuracy, and what the rule measured."""

from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.training import Epoch, TrainRecord
from holomorph.reporting.images import Picture
from holomorph.reporting.parts.base import Context, one
from holomorph.reporting.plots import ROLES, course


def training_part(records: Sequence[Record]) -> Context:
    """Draw one plot for each quantity that the record has."""
    run = one(records, TrainRecord)
    if run is None or not run.history:
        return None
    both = {ROLES[0]: run.history}
    if run.baseline is not None:
        both[ROLES[1]] = run.baseline.history
    names = _measured(run.history)
    return {"pictures": _pictures(both, names), "run": run}


#: What rules measure as they go; another measurement is named after itself.
_MEANINGS = {
    "risk": "The cross-entropy of the clean samples, without the rule's penalty.",
    "energy": "The mean squared input gradient that the rule penalises, before its weight.",
    "penalty": "The term that the rule adds to the risk.",
    "robust": "The loss on the perturbed samples.",
}


def _measured(history: Sequence[Epoch]) -> list[str]:
    return list(dict.fromkeys(name for epoch in history for name in epoch.measured))


def _pictures(both: dict[str, tuple[Epoch, ...]], names: Sequence[str]) -> list[Picture]:
    losses = {role: [e.loss for e in history] for role, history in both.items()}
    meaning = "The mean over each epoch of what the rule minimises, so the two losses are not comparable."
    pictures = [course(losses, "training loss", meaning)]
    accuracy = {role: [e.validation_accuracy for e in history] for role, history in both.items()}
    known = {role: values for role, values in accuracy.items() if any(v is not None for v in values)}
    if known:
        meaning = "The share of unperturbed validation samples that are classified correctly."
        pictures.append(course(known, "validation accuracy", meaning, share=True))
    for name in names:
        label = name.replace("_", " ")
        meaning = _MEANINGS.get(name, f"The rule's own measurement “{label}”, as a mean over each epoch.")
        pictures.append(course({ROLES[0]: [e.measured.get(name) for e in both[ROLES[0]]]}, label, meaning))
    return pictures
