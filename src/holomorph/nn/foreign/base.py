"""What a library is asked for a model, and what it gives."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from holomorph.errors import ConfigError, HolomorphError
from holomorph.nn.foreign.preprocessing import NOTHING, Preprocessing


@dataclass(frozen=True)
class ModelRequest:
    """A model of a library by its name.

    Attributes
    ----------
    name:
        What stands after the prefix.
    shape, classes:
        Of a sample, and the number of outputs unless the pretrained ones are kept.
    pretrained:
        Whether the model is the one whose weights the library has, with its preprocessing.
    fetch:
        Whether these weights are loaded; not if others follow.
    given:
        Whether the user has given the number of outputs.
    further:
        Settings for the library's own function.
    """

    name: str
    shape: tuple[int, ...]
    classes: int
    pretrained: bool
    fetch: bool
    given: bool = False
    further: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignModel:
    """A model, what is done to its inputs, and names of its outputs, several for each where there are synonyms."""

    model: nn.Module
    preprocessing: Preprocessing = NOTHING
    labels: tuple[tuple[str, ...], ...] = ()


Make = Callable[[ModelRequest], ForeignModel]


@contextmanager
def said(name: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises into one sentence.

    Raises
    ------
    ConfigError
        With the library's first words.
    """
    try:
        yield
    except HolomorphError:
        raise
    except Exception as error:  # libraries raise many types: of the hub, of files, of unknown names
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"{name} cannot be made ({reason}). {remedy}") from error


def begin_with(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take the weights of the same shapes: of a network with another number of outputs, all but the last layer.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    >>> begin_with(model, {**nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5)).state_dict(), "0.bias": torch.ones(2)})
    >>> model[0].bias.tolist()
    [1.0, 1.0]
    """
    own = model.state_dict()
    model.load_state_dict({**own, **{k: v for k, v in state.items() if k in own and own[k].shape == v.shape}})
