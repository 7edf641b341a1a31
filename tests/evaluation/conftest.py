import pytest

from scenes import Scene, staged


@pytest.fixture(scope="session")
def scene() -> Scene:
    return staged()
