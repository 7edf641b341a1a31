"""The pretend device as a fixture."""

from collections.abc import Iterator

import pytest

from pretend_device import PretendDevice


@pytest.fixture
def pretend() -> Iterator[PretendDevice]:
    """A device that refuses what a GPU refuses and counts what makes the host wait."""
    with PretendDevice() as device:
        yield device


@pytest.fixture
def single() -> Iterator[PretendDevice]:
    """A device without double precision."""
    with PretendDevice(doubles=False) as device:
        yield device
