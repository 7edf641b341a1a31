"""A model card: what the model is, what attacks and proofs say of it, and what they do not say."""

from collections.abc import Sequence

from holomorph.records.base import Record
from holomorph.records.evaluation import EvaluationRecord
from holomorph.records.training import TrainRecord
from holomorph.reporting.certified import matching_certificate, under
from holomorph.reporting.markdown import markdown_table
from holomorph.reporting.one_line import one_line
from holomorph.reporting.parts.base import one
from holomorph.reporting.render import title_of
from holomorph.reporting.words import counted, percent_range, percentage, threat_name, threat_sentence


def model_card(records: Sequence[Record], file: str, *, samples: int, difference: float) -> str:
    """Return the card of an exported model as Markdown.

    Parameters
    ----------
    records:
        Of the run.
    file:
        The name of the exported file.
    samples, difference:
        On how many samples the file was compared with the model, and the largest relative difference of logits.
    """
    run, found = one(records, TrainRecord), one(records, EvaluationRecord)
    blocks = [f"# Model card: {title_of(records)}"]
    blocks += [one_line(records)] if found is not None else ["This model has not been attacked yet."]
    blocks.append(
        f"`{file}` was read back after it was written. On {counted(samples, 'sample')} its predictions are those of "
        f"the trained model, and its logits differ by {difference:.1g} of the largest at most."
    )
    if found is not None:
        blocks += ["## Robustness", _accuracies(records, found)]
    if run is not None:
        blocks += ["## Training", _training(run)]
    blocks += ["## Limits", _limits(run, found)]
    return "\n\n".join(blocks).replace("\u202f", " ") + "\n"


def _accuracies(records: Sequence[Record], found: EvaluationRecord) -> str:
    proved = matching_certificate(records)
    rows = [["unperturbed", f"{percentage(found.clean)} ({percent_range(found.clean_interval)})", ""]]
    for result in found.threats:
        part = under(proved, result)
        attacked = f"{percentage(result.robust)} ({percent_range(result.interval)})"
        rows.append([threat_name(result.threat), attacked, "" if part is None else percentage(part.proved)])
    return markdown_table(["threat", "accuracy under attack", "proved"], rows)


def _training(run: TrainRecord) -> str:
    lines = [f"- Data: {run.data or 'given as arrays'}, {counted(run.samples, 'sample')}."]
    lines.append(f"- Rule: {run.rule}, {counted(run.epochs, 'epoch')}, seed {run.seed}.")
    if run.command:
        lines.append(f"- Command: `{run.command}`")
    return "\n".join(lines)


def _limits(run: TrainRecord | None, found: EvaluationRecord | None) -> str:
    threat = run.threat if run is not None else None
    trained = f"It was trained for attacks in which {threat_sentence(threat)}. " if threat is not None else ""
    bound = "Accuracies under attack are upper bounds: a better attack may find more. " if found is not None else ""
    return (
        f"{trained}{bound}Nothing is said about other changes of the input, such as rotations, weather or other data. "
        f"Inputs must lie in the range that the model was trained on."
    )
