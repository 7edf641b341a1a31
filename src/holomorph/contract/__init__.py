"""The one door: everything that comes in from outside is looked at here, and the model is a guest."""

from holomorph.contract.data import Data, check_batch, check_samples, gather
from holomorph.contract.labels import as_long, check_labels, class_indices
from holomorph.contract.model import Differentiable, Guest, evaluating, gradients
from holomorph.contract.outputs import logits_of
from holomorph.contract.settings import at_least_one
from holomorph.contract.threats import as_threat, as_threats

__all__ = [
    "Data", "Differentiable", "Guest", "as_long", "as_threat", "as_threats", "at_least_one", "check_batch",
    "check_labels", "check_samples", "class_indices", "evaluating", "gather", "gradients", "logits_of",
]  # fmt: skip
