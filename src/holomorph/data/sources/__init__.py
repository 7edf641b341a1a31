"""Where data sets come from: one registry of sources, one way to ask them."""

from pathlib import Path
from urllib.parse import parse_qsl

from holomorph.data.sources import cifar, digits, fashion, folders, npz, saved, tables
from holomorph.data.sources.base import Box, DataRequest, Source
from holomorph.data.splits import Splits
from holomorph.errors import ConfigError, unknown_name
from holomorph.threats import ThreatModel

#: Every source by name. A new one is a file with a function from DataRequest to Splits, and a line here.
SOURCES: dict[str, Source] = {
    "digits": Source(digits.read_digits),
    "fashion-mnist": Source(fashion.read_fashion_mnist),
    "cifar10": Source(cifar.CIFAR10.read),
    "cifar100": Source(cifar.CIFAR100.read),
    "folder": Source(folders.read_image_folder, takes_path=True, settings=("size", "flip")),
    "npz": Source(npz.read_npz_data, takes_path=True, settings=npz.NPZ_SETTINGS),
    "csv": Source(tables.read_csv, takes_path=True, settings=tables.TABLE_SETTINGS),
    "parquet": Source(tables.read_parquet, takes_path=True, settings=tables.TABLE_SETTINGS),
    "hf": Source(saved.read_saved, takes_path=True, settings=saved.SAVED_SETTINGS),
}


def source_names() -> list[str]:
    """How every source is written, for messages."""
    return [name + ":PATH" * source.takes_path for name, source in SOURCES.items()]


def load_data(name: str, *, data_dir: str | Path | None = None, box: Box | None = None) -> Splits:
    """Load a data set by name.

    A source of :data:`SOURCES`, with its path where it takes one: ``digits``, ``folder:PATH`` (a folder of images for
    each class), ``hf:PATH`` (saved by the datasets library). Settings follow a question mark:
    ``csv:people.csv?target=income&missing=median``.

    Parameters
    ----------
    name:
        The data set.
    data_dir:
        Folder of a source that has no path: the four IDX files of Fashion-MNIST, the archives or folders of CIFAR.
    box:
        Range of the coordinates of an npz file; by default the range of its own samples, and that of uint8 is [0, 1].

    Raises
    ------
    ConfigError
        For an unknown name or setting.
    DataError
        For missing or unusable files.
    MissingExtraError
        Where a format needs an optional package.

    >>> load_data("digits").x_train.shape
    torch.Size([1077, 1, 8, 8])
    """
    if box is not None:
        ThreatModel("1", 1.0, box)  # refuses an empty or unbounded box, before a file is opened
    word, colon, rest = name.partition(":")
    if word not in SOURCES:
        raise unknown_name("data set", word, source_names())
    path, _, query = rest.partition("?") if colon else ("", "", "")
    asked = DataRequest(name, Path(path) if path else None, Path(data_dir) if data_dir else None, box, _settings(query))
    SOURCES[word].check(asked, word)
    return SOURCES[word].read(asked)


def _settings(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=True)) if query else {}
    except ValueError:
        raise ConfigError(f"Cannot read the settings {query!r}. Write them as setting=value&setting=value.") from None
