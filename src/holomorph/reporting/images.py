"""Pictures as data URIs, so that the page needs no other file and no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT = "#22262b", "#6b7280", "#d9dce1"
MODEL_COLOUR, BASELINE_COLOUR = "#1f5a8c", "#c4622d"

_STYLE: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.hashsalt": "holomorph",  # the same record gives the same bytes
    "figure.constrained_layout.use": True,
}


class Picture(NamedTuple):
    """An image for the page: its bytes as a data URI, what it shows in words, and the line below it."""

    source: str
    alt: str
    caption: str = ""


class Canvas:
    """Axes to draw on; :meth:`picture` turns them into a :class:`Picture`."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.axes: Axes = figure.subplots()

    def picture(self, alt: str, caption: str = "") -> Picture:
        """Encode what has been drawn as SVG."""
        stream = io.BytesIO()
        self.figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        return Picture(_uri("image/svg+xml", stream.getvalue()), alt, caption)


@contextmanager
def canvas(height: float = 3.1) -> Iterator[Canvas]:
    """Axes in the report's style, as wide as a phone shows without shrinking the letters below reading size."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        yield Canvas(Figure(figsize=(4.8, height)))


def image(values: Sequence[float] | NDArray[np.float64], shape: Sequence[int], low: float, high: float) -> str | None:
    """Encode a grey or colour image as PNG, ``low`` black and ``high`` white.

    Shapes (h, w), (1, h, w) and (3, h, w) are images; for any other the result is None.

    >>> image([0.0, 1.0, 0.5, 0.2], (1, 2, 2), 0, 1)[:22]
    'data:image/png;base64,'
    >>> image([0.0, 1.0], (2,), 0, 1) is None
    True
    """
    pixels = _pixels(values, shape)
    if pixels is None:
        return None
    scaled = np.clip((pixels - low) / (high - low), 0, 1)
    return _png(np.broadcast_to(scaled, (*scaled.shape[:2], 3)))


def perturbation(delta: NDArray[np.float64], shape: Sequence[int]) -> str | None:
    """Encode a perturbation stretched to full contrast: white where it is zero, blue where lower, red where higher."""
    import matplotlib as mpl

    pixels = _pixels(delta, shape)
    if pixels is None:
        return None
    largest = float(np.abs(pixels).max()) or 1.0
    if pixels.shape[2] == 3:
        return _png(np.clip(pixels / (2 * largest) + 0.5, 0, 1))
    return _png(mpl.colormaps["RdBu_r"](pixels[..., 0] / (2 * largest) + 0.5)[..., :3])


def _pixels(values: Sequence[float] | NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64] | None:
    """Values as (height, width, 1 or 3), or None where the shape is not that of an image."""
    full = (1, *shape) if len(shape) == 2 else tuple(shape)
    if len(full) != 3 or full[0] not in (1, 3):
        return None
    return np.moveaxis(np.asarray(values, dtype=np.float64).reshape(full), 0, 2)


def _png(pixels: NDArray[np.float64]) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(stream, format="PNG")
    return _uri("image/png", stream.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
