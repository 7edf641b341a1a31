"""``holomorph audit``: verify a saved evaluation again, trusting no attack."""

from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from holomorph._utils.interval import percent
from holomorph._utils.words import counted
from holomorph.cli import options
from holomorph.cli.common import evaluation_file, say
from holomorph.errors import ConfigError
from holomorph.records.evaluation import EvaluationRecord


def audit_command(
    record: Annotated[Path, typer.Argument(help="evaluation.json, with the npz file beside it, or a run folder.")],
    weights: Annotated[Path | None, typer.Option(help="Weights to use instead of the recorded ones.")] = None,
    trust: options.Trust = False,
) -> None:
    """Work out every value of a saved evaluation again from the adversarial inputs; exit with 3 if one differs."""
    from holomorph.evaluation.audit import audit

    path = evaluation_file(record)
    saved = EvaluationRecord.load(path)
    result = audit(saved, _model(saved, path, weights, trust=trust), path.parent)
    say(
        f"{counted(result.adversarial, 'adversarial input')} verified: clean accuracy {percent(result.clean)}, robust "
        f"accuracy {percent(result.robust)} on {counted(result.samples, 'sample')}."
    )
    for line in result.discrepancies:
        say(line)
    if not result.passed:
        raise typer.Exit(3)
    say("The record stands.")


def _model(record: EvaluationRecord, path: Path, weights: Path | None, *, trust: bool) -> nn.Module:
    from holomorph.integrations.loading import load_model, load_weights
    from holomorph.nn.foreign import is_code
    from holomorph.training.folder import RunFolder

    source = record.model_source
    if "run" in source:  # the run may have been moved since: it lies where the record lies
        folder = path.parent if (path.parent / "config.json").is_file() else Path(source["run"])
        run = RunFolder.open(folder)
        if weights is None:
            return run.load_model(trusted=trust)
        model = run.config.build_model(trusted=trust, weights_follow=True)
        load_weights(model, weights)
        return model.eval()
    if "factory" not in source:
        raise ConfigError("The record does not say how to load its model. Use holomorph.audit(record, model, folder).")
    if is_code(source["factory"]) and not trust:
        raise ConfigError(
            f"The record's model is {source['factory']}, code that would be imported from where you are. If you know "
            f"it, give --trust."
        )
    shape = tuple(int(part) for part in source["shape"].split(","))
    return load_model(source["factory"], weights or source["weights"] or None, shape=shape,
                      classes=int(source["classes"]))  # fmt: skip
