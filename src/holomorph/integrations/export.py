"""Export a trained run for deployment: weights, a torch program or ONNX, checked on samples, with a model card."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from holomorph._utils.io import write_atomically
from holomorph.errors import MissingExtraError, ModelError, unknown_name
from holomorph.integrations.loading import load_weights
from holomorph.nn.foreign.programs import OnnxModel
from holomorph.reporting.model_card import model_card
from holomorph.training.folder import RunFolder
from holomorph.training.load import load

#: Logits may differ by the rounding of another order of sums, relative to the largest of them.
_ROUNDING = 1e-4
_SAMPLES = 64


@dataclass(frozen=True)
class Exported:
    """What an export has written, and how it compares with the model on samples."""

    path: Path
    card: Path
    samples: int
    accuracy: float
    difference: float


def export(folder: str | os.PathLike[str], to: str, out: str | os.PathLike[str] | None = None) -> Exported:
    r"""Write the model of a run as one file, read it back, and compare both on test samples.

    Parameters
    ----------
    folder:
        A run folder with a model that the package can make again.
    to:
        ``"safetensors"``: the weights alone; ``"pt2"``: a program of ``torch.export``, which needs torch but not this
        package; ``"onnx"``: for onnxruntime. Both programs take batches of any size.
    out:
        Folder of the file and its model card; ``export`` in the run folder unless given.

    Returns
    -------
    Exported
        ``difference`` is $\max |h - h'| / \max |h|$ over the logits of the model and of what was read back.

    Raises
    ------
    ConfigError, DataError
        For an unknown format, or a folder without a finished run.
    ModelError
        If the model cannot be exported, or what was read back predicts otherwise; nothing is left behind then.
    MissingExtraError
        If ONNX is asked for and its packages are missing.
    """
    if to not in WRITERS:
        raise unknown_name("export format", to, WRITERS)
    run = load(folder)
    splits = RunFolder.open(folder).config.load_data()
    x, y = (part[:_SAMPLES] for part in splits.part("test"))
    x = x.to(next(run.model.parameters()).dtype)
    target = Path(out if out is not None else Path(folder) / "export")
    path = target / f"model.{to}"
    try:
        again = WRITERS[to](run.model, x, path, Path(folder))
        with torch.no_grad():
            expected, found = run.model(x), again(x)
        difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
        if not difference <= _ROUNDING or not torch.equal(found.argmax(1), expected.argmax(1)):
            raise ModelError(
                f"What was read back from {path.name} differs from the model by {difference:.2g} of the largest logit. "
                f"Export to safetensors instead."
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    accuracy = float((found.argmax(1) == y).double().mean())
    text = model_card(run.records, path.name, samples=len(x), difference=difference)
    card = write_atomically(target / "model-card.md", text.encode())
    return Exported(path, card, len(x), accuracy, difference)


def _safetensors(model: nn.Module, x: Tensor, path: Path, folder: Path) -> Callable[[Tensor], Tensor]:
    from safetensors.torch import save

    write_atomically(path, save({name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}))
    again = RunFolder.open(folder).config.build_model(weights_follow=True)
    load_weights(again, path)
    return again.eval()


def _pt2(model: nn.Module, x: Tensor, path: Path, folder: Path) -> Callable[[Tensor], Tensor]:
    import io

    stream = io.BytesIO()
    torch.export.save(_program(model, x), stream)
    write_atomically(path, stream.getvalue())
    again: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(path.read_bytes())).module()
    return again


def _onnx(model: nn.Module, x: Tensor, path: Path, folder: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxscript  # noqa: F401  # torch writes ONNX with it
    except ImportError as error:
        raise MissingExtraError("onnxscript", "onnx") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own trees
        written = torch.onnx.export(_program(model, x), (x[:2],), dynamo=True, verbose=False)
    if written is None:
        raise ModelError("torch has written no ONNX program for this model. Export to pt2 instead.")
    write_atomically(path, written.model_proto.SerializeToString())
    return OnnxModel(path)


def _program(model: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    """Trace the model for batches of any size."""
    try:
        return torch.export.export(model, (x[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:  # torch raises many types for what it cannot trace
        reason = " ".join(str(error).split())[:150]
        raise ModelError(f"torch cannot trace this model: {reason}. Export to safetensors instead.") from error


#: What can be written, by its ending: each writes a model and reads it back.
WRITERS: dict[str, Callable[[nn.Module, Tensor, Path, Path], Callable[[Tensor], Tensor]]] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "safetensors": _safetensors,
}
