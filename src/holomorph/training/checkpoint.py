"""Checkpoints that cannot run code: tensors as safetensors, everything else as JSON with the tensors' digest."""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from holomorph._utils.io import read_json, read_plain, write_atomically
from holomorph.errors import CheckpointError, HolomorphWarning
from holomorph.training.sharded import like


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors as safetensors, whole or not at all, and return their SHA-256."""
    content = save({name: value for key, tensor in tensors.items() for name, value in [_real(key, tensor)]})
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


#: Marks complex tensors in a file: the format has no complex double, so they lie there as pairs of real numbers.
_PAIRS = "|complex"


def _real(key: str, tensor: Tensor) -> tuple[str, Tensor]:
    value = tensor.detach().cpu()
    if value.is_complex():
        key, value = key + _PAIRS, torch.view_as_real(value.resolve_conj())
    return key, value.contiguous().clone()


def _complex(key: str, value: Tensor) -> tuple[str, Tensor]:
    return (key.removesuffix(_PAIRS), torch.view_as_complex(value)) if key.endswith(_PAIRS) else (key, value)


def load_tensors(path: Path, digest: str | None = None) -> dict[str, Tensor]:
    """Read tensors; a file that is cut short or was changed is refused.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or not the one whose digest was noted.
    """
    try:
        content = read_plain(path)
    except OSError as error:
        raise CheckpointError(f"There are no weights at {path} ({error.strerror}).") from error
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path} is not the file that was saved: it was cut short or changed. Train again.")
    try:
        return dict(_complex(key, value) for key, value in load(content).items())
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}). Train again.") from error


def load_into(model: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Load weights into a model of the same architecture.

    Raises
    ------
    CheckpointError
        Naming the first parameter that does not fit.
    """
    own = model.state_dict()
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())[0]
        where = "the model has no such parameter" if odd in tensors else "the file lacks it"
        raise CheckpointError(f"The weights in {origin} are of another architecture: {odd!r}, {where}.")
    for key, value in own.items():
        if value.shape != tensors[key].shape:
            raise CheckpointError(
                f"The weights in {origin} are of another architecture: {key!r} has shape "
                f"{tuple(tensors[key].shape)}, the model's has {tuple(value.shape)}."
            )
    model.load_state_dict({key: like(tensors[key], value) for key, value in own.items()})


def save_checkpoint(folder: Path, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write NAME.safetensors, then NAME.json with its digest: a checkpoint exists once its JSON does."""
    digest = save_tensors(folder / f"{name}.safetensors", tensors)
    return write_state(folder / f"{name}.json", {**state, "sha256": digest})


def write_state(path: Path, state: dict[str, Any]) -> Path:
    """Write a checkpoint's JSON, sealed; with it the checkpoint exists."""
    return write_atomically(path, json.dumps(_sealed(state)).encode())


def _sealed(state: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(json.loads(json.dumps(state)), sort_keys=True)  # as it is read: keys are texts there
    return {**state, "seal": hashlib.sha256(text.encode()).hexdigest()}


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the checkpoint whose JSON lies at ``path``; of one in shares the tensors are looked at and left there."""
    try:
        state = read_json(path)
        seal = state.pop("seal")
        if _sealed(state)["seal"] != seal:
            raise ValueError("it is not as it was written")
        digest, shares = state.pop("sha256", None), state.pop("shares", None)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint ({error}). Remove it to use the one before.") from error
    if shares is not None:
        for name, noted in shares.items():
            load_tensors(path.with_suffix(".shares") / name, noted)
        return {}, state
    return load_tensors(path.with_suffix(".safetensors"), digest), state


def name(epochs: int, batch: int) -> str:
    """Name the checkpoint after so many epochs and batches of the next one; later ones come later in the alphabet.

    >>> name(3, 0), name(3, 20)
    ('epoch-0003', 'epoch-0003-batch-00000020')
    """
    return f"epoch-{epochs:04d}" + (f"-batch-{batch:08d}" if batch else "")


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint's JSON, or None."""
    return next(reversed(_all(folder)), None)


def newest_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint that can be read, with a warning where newer ones cannot; None if there is none.

    Raises
    ------
    CheckpointError
        If there are checkpoints and all of them are damaged.
    """
    damaged: CheckpointError | None = None
    for path in reversed(_all(folder)):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            damaged = damaged or error
            continue
        if damaged is not None:
            warnings.warn(f"{damaged} The run goes on from {path.stem}.", HolomorphWarning, stacklevel=2)
        return path
    if damaged is not None:
        raise damaged
    return None


def prune(folder: Path, keep: int = 2) -> None:
    """Delete all but the newest checkpoints at the end of an epoch and the newest of all.

    JSON goes first, and tensors whose JSON a kill has left out go, too.
    """
    every = _all(folder)
    kept = [path for path in every if not _moment(path)[1]][-keep:] + every[-1:]
    for pattern in ("epoch-*.json", "epoch-*.safetensors", "epoch-*.shares/*.safetensors"):
        for path in folder.glob(pattern):
            named = path if path.parent == folder else path.parent
            if named.with_suffix(".json") not in kept and path.is_file() and not path.is_symlink():
                path.unlink()
    for place in folder.glob("epoch-*.shares"):
        if place.with_suffix(".json") not in kept and not any(place.iterdir()):
            place.rmdir()


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*.json"), key=_moment)


def _moment(path: Path) -> tuple[int, int]:
    """Epochs and batches in a checkpoint's name: names are not in order beyond 9,999."""
    found = re.fullmatch(r"epoch-(\d+)(?:-batch-(\d+))?", path.stem)
    return (int(found[1]), int(found[2] or 0)) if found else (-1, 0)


def gathered(state: dict[str, Any], fabric: Fabric) -> list[dict[str, Any]]:
    """Return the states of all processes, in their order."""
    if fabric.world_size == 1:
        return [state]
    states: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(states, _on_host(state))
    return states


def _on_host(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _on_host(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_on_host(part) for part in value]
    return value.detach().cpu() if isinstance(value, Tensor) else value


def without_tensors(value: Any, path: str, found: dict[str, Tensor]) -> Any:
    """Put the tensors of a nested state into ``found``, each under its path, which stays in its place.

    >>> found = {}
    >>> without_tensors({"delta": torch.ones(2), "calls": 3}, "rule", found), sorted(found)
    ({'delta': {'tensor': 'rule.delta'}, 'calls': 3}, ['rule.delta'])
    """
    if isinstance(value, dict):
        return {key: without_tensors(part, f"{path}.{key}", found) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_tensors(part, f"{path}.{index}", found) for index, part in enumerate(value)]
    if isinstance(value, Tensor):
        found[path] = value
        return {"tensor": path}
    return value


def with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo :func:`without_tensors`."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        return {key: with_tensors(part, tensors) for key, part in value.items()}
    return [with_tensors(part, tensors) for part in value] if isinstance(value, list) else value


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state into tensors, named index.key, and plain groups."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for index, values in state["state"].items()
        for key, value in values.items()
        if value is not None
    }
    return tensors, state["param_groups"]


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Undo :func:`flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = optimized(optimizer)
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = like(value, parameters[int(index)])
    for group in groups:
        if "betas" in group:
            group["betas"] = tuple(group["betas"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def optimized(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters by their index in the optimizer's state."""
    return [p for group in optimizer.param_groups for p in group["params"]]
