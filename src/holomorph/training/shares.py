"""Who writes a checkpoint: the first process all of it, or each one its share while training goes on.

What torch has for shares is imported where weights are shared out, which older versions cannot do.
"""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from holomorph.errors import StorageError
from holomorph.training.checkpoint import load_checkpoint, prune, save_checkpoint, write_state


class Whole:
    """The first process writes the whole checkpoint at once."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric

    def save(self, path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write a checkpoint; ``path`` is that of its JSON. All processes come together."""
        if self._fabric.is_global_zero:
            save_checkpoint(path.parent, path.stem, tensors, state)
            prune(path.parent)

    def settle(self) -> None:
        """Wait until the last checkpoint exists."""


class Shares(Whole):
    """Each process writes its share by torch's own means, in another thread; the first one writes the JSON last."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric)
        self._thread = ThreadPoolExecutor(1)
        self._group = distributed.new_group(backend="gloo")  # of its own, because another thread uses it
        self._writing: Future[None] | None = None

    def save(self, path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Copy the tensors and begin to write them, once those before are written."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        self.settle()
        place = path.with_suffix(".shares")
        if self._fabric.is_global_zero:
            for file in (path, *place.glob("*.safetensors")):  # of other processes, before the run went back
                file.unlink(missing_ok=True)
        self._fabric.barrier()
        writer = HuggingFaceStorageWriter(str(place), save_distributed=True)
        written: Any = async_save(dict(tensors), storage_writer=writer, process_group=self._group)
        self._writing = self._thread.submit(self._seal, written, path, state)

    def _seal(self, written: Future[Any], path: Path, state: dict[str, Any]) -> None:
        from torch.distributed.checkpoint.api import CheckpointException

        try:
            written.result()
        except CheckpointException as error:
            reasons = [reason for reason, _ in error.failures.values()]
            reason = next((found for found in reasons if isinstance(found, OSError)), OSError(str(reasons[0])))
            raise StorageError(path.with_suffix(".shares"), reason) from None
        if self._fabric.is_global_zero:
            files = sorted(path.with_suffix(".shares").glob("*.safetensors"))
            digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
            write_state(path, {**state, "shares": digests})
            prune(path.parent)

    def settle(self) -> None:
        """Wait until the last checkpoint exists; a StorageError says why it cannot."""
        if self._writing is not None:
            self._writing.result()


def read_checkpoint(path: Path, own: Callable[[], Mapping[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint that any number of processes wrote; where ``own`` holds a share of something, the same share.

    There a parameter's name stands for everything that an optimizer keeps of it.
    """
    tensors, state = load_checkpoint(path)
    if not tensors:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        reader, places = HuggingFaceStorageReader(str(path.with_suffix(".shares"))), own()
        metadata: Any = reader.read_metadata().state_dict_metadata
        for name, kept in metadata.items():
            like: Any = places.get(name, places.get(name.rpartition(".")[0]))
            place = like if isinstance(like, DTensor) and like.shape == kept.size else torch.empty(kept.size)
            tensors[name] = torch.empty_like(place, dtype=kept.properties.dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # of which one process has no need
            load(tensors, storage_reader=reader)
    return tensors, state
