"""Data sets by name, in checked splits."""

from holomorph.data.augmentation import CropFlip
from holomorph.data.sources import SOURCES, load_data
from holomorph.data.splits import Splits, as_input

__all__ = ["SOURCES", "CropFlip", "Splits", "as_input", "load_data"]
