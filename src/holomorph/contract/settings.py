"""What is asked of settings that are plain numbers."""

from __future__ import annotations

from holomorph.errors import ConfigError


def at_least_one(**counts: int) -> None:
    """Refuse counts that must be 1, 2, 3, ...

    Raises
    ------
    ConfigError
        With the count's name.
    """
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1.")
