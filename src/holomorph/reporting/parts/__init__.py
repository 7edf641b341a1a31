"""The parts of the page in their order. To add one: a module with ``build``, a template, a line here."""

from holomorph.reporting.parts import (
    accuracy,
    certificate,
    checks,
    comparison,
    explanation,
    gallery,
    gradients,
    provenance,
    summary,
    training,
)
from holomorph.reporting.parts.base import Part

PARTS: tuple[Part, ...] = (
    Part("summary", summary.build),
    Part("comparison", comparison.build),
    Part("accuracy", accuracy.build),
    Part("certificate", certificate.build),
    Part("gallery", gallery.build),
    Part("gradients", gradients.build),
    Part("explanation", explanation.build),
    Part("training", training.build),
    Part("checks", checks.build),
    Part("provenance", provenance.build),
)
