"""The settings that may follow the name of any model that is not built in: ``timm:resnet18?size=64&order=bgr``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holomorph.errors import ConfigError, unknown_name

#: How many numbers each setting of the preprocessing has; None for one a channel.
_NUMBERS = {"mean": None, "std": None, "box": 2}
_WORDS = {"yes": True, "no": False}


@dataclass(frozen=True)
class ForeignSettings:
    """What was asked: the preprocessing, a smooth activation, the number of outputs, the library's weights."""

    preprocessing: Mapping[str, Any]
    activation: str = ""
    classes: int | None = None
    pretrained: bool | None = None
    further: Mapping[str, Any] = None  # type: ignore[assignment]  # always filled in by read

    @classmethod
    def read(cls, given: Mapping[str, Any], name: str) -> ForeignSettings:
        """Read the settings of one model; what we do not know goes to the library, where there is one.

        >>> ForeignSettings.read({"mean": "0.5,0.4,0.3", "order": "bgr"}, "timm:resnet18").preprocessing
        {'mean': (0.5, 0.4, 0.3), 'order': 'bgr'}
        """
        rest = dict(given)
        found: dict[str, Any] = {}
        for key, count in _NUMBERS.items():
            if key in rest:
                found[key] = _numbers(key, str(rest.pop(key)), count)
        if "size" in rest:
            found["size"] = (_whole("size", rest.pop("size")),) * 2
        if "order" in rest:
            found["order"] = _one_of("order", rest.pop("order"), ("rgb", "bgr"))
        activation = str(rest.pop("activation", ""))
        classes = _whole("classes", rest.pop("classes")) if "classes" in rest else None
        pretrained = _WORDS[_one_of("pretrained", rest.pop("pretrained"), _WORDS)] if "pretrained" in rest else None
        if rest and name.partition(":")[0] not in ("timm", "torchvision"):
            known = (*_NUMBERS, "size", "order", "activation", "classes", "pretrained")
            raise unknown_name(f"setting of the model {name!r}", next(iter(rest)), known)
        return cls(found, activation, classes, pretrained, rest)


def _numbers(key: str, text: str, count: int | None) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or (count is not None and len(found) != count) or (key == "std" and min(found) <= 0):
        raise ConfigError(f"{key} is {text!r}; write numbers with commas, such as mean=0.5,0.5,0.5 or box=0,255.")
    return found


def _whole(key: str, value: Any) -> int:
    if not str(value).isdecimal() or int(value) < 1:
        raise ConfigError(f"{key} is {value!r}; give a whole number above 0.")
    return int(value)


def _one_of(key: str, value: Any, known: Any) -> str:
    if value not in known:
        raise unknown_name(f"value of {key}", str(value), known)
    return str(value)
