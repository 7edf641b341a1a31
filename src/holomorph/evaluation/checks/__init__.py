"""The evaluator's checks of itself and of the model, grouped by theme, numbered as in docs/evaluation.md."""

from holomorph.evaluation.checks import accounting
from holomorph.evaluation.checks.base import Checker, Evidence, run_checks
from holomorph.evaluation.checks.behaviour import DataGrid, GradientAgainstDifferences, Memory
from holomorph.evaluation.checks.convergence import Restarts, SilentSuccess, Steps, Unfinished
from holomorph.evaluation.checks.gradients import BrokenGraph, GradientAlignment, UnstableLoss, ZeroGradients
from holomorph.evaluation.checks.outputs import ClassCount, Determinism, Logits, OptimisationAtInference
from holomorph.evaluation.checks.strength import MonotoneInEps, OneStepAgainstMany, RandomNoise, Unbounded

#: Every check, in the order of the documentation. Those that look at the final account look again after the
#: others have had their say, since a check that breaks a sample changes the account.
ALL: tuple[Checker, ...] = (
    OneStepAgainstMany(),
    accounting.WhiteAgainstBlackBox(),
    RandomNoise(),
    MonotoneInEps(),
    Unbounded(),
    Steps(),
    Restarts(),
    ZeroGradients(),
    BrokenGraph(),
    UnstableLoss(),
    Unfinished(),
    SilentSuccess(),
    Logits(),
    Determinism(),
    OptimisationAtInference(),
    ClassCount(),
    accounting.Audit(),
    accounting.Mode(),
    accounting.Aggregation(),
    accounting.LossDiversity(),
    GradientAlignment(),
    accounting.UndefendedBaseline(),
    accounting.ReportFields(),
    GradientAgainstDifferences(),
    Memory(),
    DataGrid(),
)

__all__ = ["ALL", "Checker", "Evidence", "run_checks"]
