"""Which axis of an image holds its channels."""

from __future__ import annotations

from collections.abc import Sequence

#: What to do about images whose channels come last.
CHANNELS_FIRST = (
    "It looks like (height, width, channels): put the channels first, x.transpose(0, 3, 1, 2) for an array, "
    "x.permute(0, 3, 1, 2) for a tensor, npz:PATH?channels=last for a file."
)


def channels_seem_last(shape: Sequence[int]) -> bool:
    """Whether the shape of a sample looks like that of an image as (height, width, channels).

    >>> channels_seem_last((28, 28, 1)), channels_seem_last((3, 32, 32)), channels_seem_last((22, 250, 1))
    (True, False, False)
    """
    if len(shape) != 3 or shape[2] not in (1, 3, 4):
        return False
    small, large = sorted(shape[:2])
    return small > 4 and large <= 4 * small  # longer ones are signals of several channels
