"""Tables with a row a sample, in csv and parquet files; columns of words become numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from holomorph.data.sources.base import DataRequest, divide
from holomorph.data.splits import Splits
from holomorph.errors import ConfigError, DataError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

TABLE_SETTINGS = ("target", "categories", "missing", "scale")

#: Names of the column of classes, where the user gives none.
TARGETS = ("target", "label", "class", "y")


def read_csv(asked: DataRequest) -> Splits:
    """A csv file, or a folder with train.csv and, if there, val.csv and test.csv; see :func:`splits_of_table`."""
    return splits_of_table(asked, _frames(asked, "csv"))


def read_parquet(asked: DataRequest) -> Splits:
    """A parquet file, or a folder with train.parquet and so on; see :func:`splits_of_table`."""
    return splits_of_table(asked, _frames(asked, "parquet"))


def splits_of_table(asked: DataRequest, frames: dict[str, pd.DataFrame]) -> Splits:
    """Make a data set of data frames by part.

    Settings: ``target``, the column of classes, whose values in order are the class names; ``categories``,
    ``one-hot`` (a column of 0 and 1 for each value) or ``ordinal`` (one column, the values in order evenly spaced);
    ``missing``, ``refuse``, ``drop`` (rows) or ``median`` (of the training rows; the most frequent word).
    Every column is scaled to [0, 1] by the smallest and the largest value of the whole table, so that a radius is a
    share of each feature's range; with ``scale`` set to ``no`` it keeps its own unit.
    """
    import pandas as pd

    target = _target(asked, frames)
    kept = _without_missing(frames, target, asked.choice("missing", ("refuse", "drop", "median")))
    sizes = {part: len(frame) for part, frame in kept.items()}
    whole = pd.concat([frame.reset_index(drop=True) for frame in kept.values()], ignore_index=True)
    names, labels = np.unique(whole[target].astype(str).to_numpy(dtype=str), return_inverse=True)
    if len(names) < 2:
        raise DataError(f"The column {target!r} holds one class only ({names[0]}). A classifier needs at least two.")
    features = _numbers(whole.drop(columns=target), asked.choice("categories", ("one-hot", "ordinal")))
    low, high, box = features.min(), features.max(), (0.0, 1.0)
    if asked.choice("scale", ("yes", "no")) == "yes":
        features = (features - low) / (high - low).replace(0.0, 1.0)
    else:
        box = float(low.min()), float(max(high.max(), low.min() + 1))
    scaled = features.to_numpy(np.float32)
    codes, columns = labels.astype(np.int64), tuple(str(column) for column in features.columns)
    rows = _parts(sizes, codes)
    parts = {part: (torch.from_numpy(scaled[index]), torch.from_numpy(codes[index])) for part, index in rows.items()}
    return Splits.of(asked.text, parts, box, len(names), tuple(names.tolist()), features=columns)


def _frames(asked: DataRequest, ending: str) -> dict[str, pd.DataFrame]:
    path = asked.file()
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError("pandas", "tables") from error
    read = pd.read_csv if ending == "csv" else pd.read_parquet
    files = {path.stem: path}
    if path.is_dir():
        files = {part: file for part in ("train", "val", "test") if (file := _file(path, part, ending)) is not None}
        if "train" not in files:
            raise DataError(f"There is no train.{ending} in {path}. Name the training table so, or give one file.")
    frames = {}
    for part, file in files.items():
        try:
            frames[part if path.is_dir() else "all"] = read(file)
        except ImportError as error:
            raise MissingExtraError("pyarrow", "tables") from error
        except (ValueError, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as {ending} ({str(error).splitlines()[0]}).") from error
    for part, frame in frames.items():
        if list(frame.columns) != list(next(iter(frames.values())).columns):
            raise DataError(f"The columns of the part {part!r} are not those of the training table.")
    return frames


def _file(folder: Path, part: str, ending: str) -> Path | None:
    names = (f"{part}.{ending}", f"{part}.{ending}.gz", f"{part}.{ending}.xz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _target(asked: DataRequest, frames: dict[str, pd.DataFrame]) -> str:
    columns = [str(column) for column in next(iter(frames.values())).columns]
    wanted = asked.settings.get("target")
    found = wanted if wanted in columns else next((name for name in TARGETS if name in columns), None)
    if found is None or (wanted is not None and found != wanted):
        shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        missing = f"has no column {wanted!r}" if wanted else "does not say which column holds the classes"
        raise ConfigError(f"The table {missing}. Give ?target=COLUMN, one of: {shown}.")
    return found


def _without_missing(frames: dict[str, pd.DataFrame], target: str, how: str) -> dict[str, pd.DataFrame]:
    """Refuse, drop or fill what is missing; what is filled in comes from the training rows alone."""
    columns = next(iter(frames.values())).columns
    counts = {str(column): int(sum(frame[column].isna().sum() for frame in frames.values())) for column in columns}
    gaps = {column: count for column, count in counts.items() if count}
    if not gaps:
        return frames
    if how == "refuse" or (target in gaps and how == "median"):
        column, count = (target, gaps[target]) if target in gaps else next(iter(gaps.items()))
        remedy = "Give ?missing=drop" if target in gaps else "Give ?missing=median or ?missing=drop"
        raise DataError(f"The column {column!r} has {count} missing values. {remedy}, or fill them in yourself.")
    training = next(iter(frames.values()))
    if how == "drop":
        kept = {part: frame.dropna() for part, frame in frames.items()}
        if any(frame.empty for frame in kept.values()):
            raise DataError("Every row of a part has missing values. Give ?missing=median, or leave columns out.")
        return kept
    if empty := [column for column in gaps if training[column].isna().all()]:
        raise DataError(f"The column {empty[0]!r} has no value in the training rows. Leave it out of the table.")
    numbers = dict.fromkeys((c for c in gaps if training[c].dtype.kind in "fiu"), float)  # a median may be a half
    values = {c: training[c].astype(float).median() if c in numbers else training[c].mode().iat[0] for c in gaps}
    return {part: frame.astype(numbers).fillna(values) for part, frame in frames.items()}


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "fiub"


def _numbers(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    """Columns of words as numbers, and columns of lists, such as embeddings, as one column for each entry."""
    import pandas as pd

    for column in [c for c in frame.columns if len(frame) and isinstance(frame[c].iat[0], list | tuple | np.ndarray)]:
        try:
            entries = np.array(frame[column].tolist(), dtype=np.float64).reshape(len(frame), -1)
        except (TypeError, ValueError):
            raise DataError(f"The lists in the column {column!r} are no numbers, or differ in length.") from None
        names = [f"{column}.{place}" for place in range(entries.shape[1])]
        frame = frame.drop(columns=column).join(pd.DataFrame(entries, frame.index, names))
    words = [column for column in frame.columns if not _is_number(frame[column])]
    for column in words:
        if (count := frame[column].nunique()) > max(20, len(frame) // 2):
            raise DataError(
                f"The column {column!r} has {count} different words in {len(frame)} rows, nearly one a row. "
                "Leave it out, or give the embeddings of texts."
            )
    if how == "ordinal":
        texts = {column: frame[column].astype(str).to_numpy(dtype=str) for column in words}
        codes = {column: np.unique(text, return_inverse=True)[1] for column, text in texts.items()}
        return frame.assign(**codes).astype(np.float64)
    texts = frame.assign(**{column: frame[column].astype(str) for column in words})
    return pd.get_dummies(texts, columns=words, prefix_sep="=").astype(np.float64)


def _parts(sizes: dict[str, int], labels: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Rows of each part; what is not given is taken from the training rows: a fifth to test, a tenth to validate."""
    starts, rows = 0, {}
    for part, size in sizes.items():
        rows["train" if part == "all" else part] = np.arange(starts, starts + size)
        starts += size
    for part, share in (("test", 0.2), ("val", 0.1)):
        if part not in rows:
            kept, held = divide(labels[rows["train"]], share)
            rows["train"], rows[part] = rows["train"][kept], rows["train"][held]
    return rows
