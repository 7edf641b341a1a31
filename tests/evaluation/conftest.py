from __future__ import annotations

import pytest

from scenes import Scene, staged


@pytest.fixture(scope="session")
def scene() -> Scene:
    return staged()
