"""The plots of a comparison: robust accuracy against clean accuracy, and against the cost of training."""

from collections.abc import Callable

from holomorph.records.comparison import ComparisonRecord, RuleResult
from holomorph.reporting.images import MODEL_COLOUR, Picture, canvas
from holomorph.reporting.words import in_plot, percentage


def accuracies(found: ComparisonRecord, quantity: str) -> Picture:
    """Robust against clean accuracy, one point a rule, with the interval of the robust one."""
    return _points(found, quantity, lambda rule: rule.accuracies["clean"].value, "clean accuracy")


def costs(found: ComparisonRecord, quantity: str) -> Picture:
    """Robust accuracy against the passes a sample costs in training, relative to plain training."""
    return _points(found, quantity, lambda rule: rule.cost, "cost of training, plain training = 1")


def _points(found: ComparisonRecord, quantity: str, place: Callable[[RuleResult], float], label: str) -> Picture:
    with canvas() as drawing:
        axes = drawing.axes
        for rule in found.rules:
            x, y = place(rule), rule.accuracies[quantity]
            bars = [[y.value - y.low], [y.high - y.value]]
            axes.errorbar(x, y.value, yerr=bars, fmt="o", color=MODEL_COLOUR, markersize=4, capsize=2)
            axes.annotate(in_plot(rule.text), (x, y.value), textcoords="offset points", xytext=(4, 4), fontsize=6)
        axes.margins(x=0.25)
        axes.set(xlabel=label, ylabel=f"robust accuracy, {in_plot(quantity)}")
        said = "; ".join(f"{r.text}: {percentage(r.accuracies[quantity].value)} at {place(r):.3g}" for r in found.rules)
        return drawing.picture(f"Robust accuracy against {label}. {said}.", "Bars: 95 % intervals.")
