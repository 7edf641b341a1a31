"""The parts of the page in their order. To add one: a file with a function of the records, a template, a line here."""

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
from holomorph.reporting.parts.base import ReportPart

PARTS: tuple[ReportPart, ...] = (
    ReportPart("summary", summary.summary_part),
    ReportPart("comparison", comparison.comparison_part),
    ReportPart("accuracy", accuracy.accuracy_part),
    ReportPart("certificate", certificate.certificate_part),
    ReportPart("gallery", gallery.gallery_part),
    ReportPart("gradients", gradients.gradients_part),
    ReportPart("explanation", explanation.explanation_part),
    ReportPart("training", training.training_part),
    ReportPart("checks", checks.checks_part),
    ReportPart("provenance", provenance.provenance_part),
)
