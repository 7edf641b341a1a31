"""Any input space as images in the unit cube, the only inputs that pyautoattack knows."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holomorph.contract.classifier import Classifier


@dataclass(frozen=True)
class UnitCube:
    r"""The affine map between a box $[\mathrm{lo}, \mathrm{hi}]^n$ of any shape and images in $[0, 1]$.

    A length shrinks by the factor 1/(hi - lo) in every norm. Inputs that are not images (channels, height, width)
    become one row of pixels, or with ``square`` a square of at least 5 x 5, padded with pixels that nothing reads.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    box: tuple[float, float]
    square: bool = False

    @property
    def features(self) -> int:
        """Input coordinates."""
        return math.prod(self.shape)

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        if len(self.shape) == 3 and (not self.square or min(self.shape[1:]) >= 5):
            return self.shape[0], self.shape[1], self.shape[2]
        side = max(5, math.ceil(math.sqrt(self.features)))
        return (1, side, side) if self.square else (1, 1, self.features)

    def encode(self, x: Tensor) -> Tensor:
        """Inputs to images."""
        low, high = self.box
        flat = ((x.flatten(1) - low) / (high - low)).clamp(0, 1).float()
        padding = math.prod(self.image) - self.features
        return nn.functional.pad(flat, (0, padding), value=0.5).reshape(-1, *self.image)

    def decode(self, image: Tensor) -> Tensor:
        """Images to inputs; where they are the same but for their shape nothing is computed."""
        low, high = self.box
        if self.box == (0.0, 1.0) and math.prod(self.image) == self.features:
            return image.reshape(-1, *self.shape).to(self.dtype)
        flat = image.flatten(1)[:, : self.features].to(self.dtype)
        return (low + flat * (high - low)).clamp(low, high).reshape(-1, *self.shape)


class UnitModel(nn.Module):
    """The classifier as a function of images in the unit cube, in single precision."""

    def __init__(self, classifier: Classifier, cube: UnitCube) -> None:
        super().__init__()
        self.classifier = classifier
        self.cube = cube

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.cube.decode(image)).float()
