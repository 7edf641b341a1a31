"""Read a record of any kind, and all records of a run folder."""

import importlib
import os
from pathlib import Path

from holomorph._utils.io import read_json
from holomorph.errors import DataError, unknown_name
from holomorph.records.base import Record

#: kind -> (module, class)
KINDS = {
    "training": ("holomorph.records.training", "TrainRecord"),
    "evaluation": ("holomorph.records.evaluation", "EvaluationRecord"),
    "certificate": ("holomorph.records.certificate", "CertificateRecord"),
    "explanation": ("holomorph.records.explanation", "ExplanationRecord"),
    "transfer": ("holomorph.records.transfer", "TransferRecord"),
    "diagnostics": ("holomorph.records.diagnostics", "DiagnosticsRecord"),
    "comparison": ("holomorph.records.comparison", "ComparisonRecord"),
    "geometry": ("holomorph.records.geometry", "GeometryRecord"),
}

#: The names that records have in a folder of ours: whatever lies there is read as one.
RECORD_FILES = {"train.json", *(f"{kind}.json" for kind in KINDS)}


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record by the kind it states; nothing in the file is executed.

    Raises
    ------
    DataError
        Where the file is missing, is not JSON, or is not a record.
    ConfigError
        For a kind that this version does not know.
    """
    kind = _kind(Path(path))
    if kind is None:
        raise DataError(f"{path} is not a record: it states no kind. Give a file that a holomorph command wrote.")
    if kind not in KINDS:
        raise unknown_name("kind of record", kind, KINDS)
    module, name = KINDS[kind]
    loaded: Record = getattr(importlib.import_module(module), name).load(path)
    return loaded


def read_folder(folder: str | os.PathLike[str]) -> list[Record]:
    """Read every record that lies directly in a run folder, in the order of their kinds; other files are passed over.

    Raises
    ------
    DataError
        Where there is no such folder, no record in it, or a damaged one.
    """
    if not Path(folder).is_dir():
        raise DataError(f"There is no run folder at {folder}. Make one with holomorph train --out {folder}.")
    files = sorted(Path(folder).glob("*.json"))
    kinds = {path: kind or "" for path in files if (kind := _kind(path)) in KINDS or path.name in RECORD_FILES}
    if not kinds:
        raise DataError(f"There are no records in {folder}. Train or evaluate into it first.")
    order = {kind: place for place, kind in enumerate(KINDS)}
    return [read(path) for path in sorted(kinds, key=lambda path: order.get(kinds[path], -1))]


def _kind(path: Path) -> str | None:
    """The kind a JSON file states, or None."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise DataError(f"There is no record at {path}.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}. Run the command that wrote it again.") from None
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else None
