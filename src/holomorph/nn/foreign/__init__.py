"""Models that others made, by prefix or ending: timm, torchvision, transformers, a factory, ONNX, torch programs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from holomorph.nn.factory import from_factory
from holomorph.nn.foreign import programs, timm, torchvision, transformers
from holomorph.nn.foreign.base import ForeignModel, Make, ModelRequest
from holomorph.nn.foreign.preprocessing import Preprocessed, smoothed
from holomorph.nn.foreign.settings import ForeignSettings

__all__ = ["FILES", "LIBRARIES", "Preprocessed", "build_foreign", "foreign_names", "is_code", "is_foreign"]

#: Libraries by prefix, ``timm:resnet18``. A new one: a file with a function of a ModelRequest, and a line here.
LIBRARIES: dict[str, Make] = {
    "timm": timm.timm_model,
    "torchvision": torchvision.torchvision_model,
    "hf": transformers.transformers_model,
}

#: Files by ending.
FILES: dict[str, type[nn.Module]] = {".onnx": programs.OnnxModel, ".pt2": programs.TorchProgram}


def is_foreign(name: str) -> bool:
    """Whether a name means a model that is not built in.

    >>> is_foreign("timm:resnet18"), is_foreign("net.onnx?mean=0.5"), is_foreign("cnn?width=8")
    (True, True, False)
    """
    return ":" in name or Path(name.partition("?")[0]).suffix in FILES


def is_code(name: str) -> bool:
    """Whether a name means a program of the user's, which a record must not run unasked.

    >>> is_code("mine.nets:make"), is_code("timm:resnet18"), is_code("cnn")
    (True, False, False)
    """
    word = name.partition("?")[0]
    return word.endswith(".pt2") or (":" in word and word.partition(":")[0] not in LIBRARIES)


def foreign_names(*, to_train: bool = False) -> list[str]:
    """How these models are written, for messages; those that can be trained, or all.

    >>> foreign_names(to_train=True)
    ['timm:NAME', 'torchvision:NAME', 'hf:PATH', 'package.module:factory', '*.pt2']
    """
    files = [f"*{ending}" for ending, kind in FILES.items() if not to_train or getattr(kind, "differentiable", True)]
    return [*(f"{key}:PATH" if key == "hf" else f"{key}:NAME" for key in LIBRARIES), "package.module:factory", *files]


def build_foreign(
    name: str, shape: Sequence[int], classes: int, settings: dict[str, Any], pretrained: bool | None
) -> nn.Module:
    """Make a model that is not built in, as :func:`holomorph.nn.classifiers.build_classifier` says; with preprocessing.

    Raises
    ------
    ConfigError, CheckpointError, MissingExtraError
        For a name or a setting that cannot be used, a file that cannot be read, or a library that is missing.
    """
    asked = ForeignSettings.read(settings, name)
    wanted = asked.pretrained if asked.pretrained is not None else bool(pretrained)
    prefix, _, rest = name.partition(":")
    if prefix in LIBRARIES:
        made = LIBRARIES[prefix](
            ModelRequest(rest, tuple(shape), asked.classes or classes, wanted, wanted and pretrained is not False,
                  asked.classes is not None, asked.further)
        )  # fmt: skip
    elif (ending := Path(name).suffix) in FILES:
        made = ForeignModel(FILES[ending](name))
    else:
        made = ForeignModel(from_factory(name, shape, asked.classes or classes))
    if asked.activation:
        smoothed(made.model, asked.activation, name)
    plan = replace(made.preprocessing, **asked.preprocessing)
    return made.model if plan.does_nothing and not made.labels else Preprocessed(made.model, plan, made.labels, name)
