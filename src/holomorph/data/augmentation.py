"""Augmentation of training images: random crops and mirror images of the same batch, drawn anew each time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from holomorph.errors import ConfigError

#: A batch of samples and a generator on the processor to a batch of the same shape and type.
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class CropFlip:
    """Crop a window of the image's size out of the padded image, mirror half of the images, cut out a square.

    Works on whole batches, of any type, without a loop over the samples.

    Parameters
    ----------
    padding:
        Pixels of zeros on each side before the crop; 4 is usual for 32 x 32 pixels.
    flip:
        Mirror each image left to right with probability 1/2.
    cutout:
        Side of a square that is set to zero at a random place, in pixels; 0 for none.

    Source: the crops and mirror images of He et al. 2016; DeVries and Taylor 2017 for the square.

    >>> x = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    >>> CropFlip(padding=1)(x, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 3, 3])
    """

    padding: int = 4
    flip: bool = True
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("padding", "cutout"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give 0 or more pixels.")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the changed batch (batch, channels, height, width)."""
        if x.ndim != 4:
            raise ConfigError(
                f"Crops and mirror images need images (batch, channels, height, width), not shape {tuple(x.shape)}. "
                "Train on such samples without augmentation."
            )
        count, _, height, width = x.shape
        rows = self._window(count, height, generator)
        columns = self._window(count, width, generator)
        if self.flip:
            mirrored = torch.rand(count, generator=generator) < 0.5
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        rows, columns = rows.to(x.device), columns.to(x.device)
        padded = torch.nn.functional.pad(x, [self.padding] * 4)
        samples = torch.arange(count, device=x.device)[:, None, None]
        out = padded[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return self._cut(out, generator) if self.cutout else out

    def _window(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        start = torch.randint(0, 2 * self.padding + 1, (count, 1), generator=generator)
        return start + torch.arange(side)

    def _cut(self, x: Tensor, generator: torch.Generator) -> Tensor:
        rows, columns = (self._square(len(x), side, generator) for side in x.shape[2:])
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return x.masked_fill(inside.to(x.device), 0)

    def _square(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        first = torch.randint(0, side, (count, 1), generator=generator) - self.cutout // 2
        place = torch.arange(side)
        return (place >= first) & (place < first + self.cutout)


@dataclass(frozen=True)
class EachSample:
    """A transform of single samples, such as those of torchvision.transforms.v2, for each sample of a batch.

    What it draws from torch's own generator is seeded by the batch's; the generator is left alone.

    >>> EachSample(lambda one: one.flip(-1))(torch.tensor([[0.0, 1.0]]), torch.Generator())
    tensor([[1., 0.]])
    """

    transform: Callable[[Tensor], Tensor]

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the changed batch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            return torch.stack([self.transform(one) for one in x])
