"""What is asked of settings that are plain numbers."""

import operator

from holomorph.errors import ConfigError

#: Seeds that every generator takes.
_SEEDS = range(2**63)


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises
    ------
    ConfigError
        Below 0 and from 2^63 on.

    >>> check_seed(0)
    """
    if seed not in _SEEDS:
        raise ConfigError(f"seed is {str(seed)[:20]}; it must lie between 0 and 2**63 - 1.")


#: The largest count that torch takes for a size on every system.
MOST = 2**31 - 1


def at_least_one(**counts: int) -> None:
    """Refuse counts that must be 1, 2, 3, ...

    Raises
    ------
    ConfigError
        With the count's name.
    """
    for name, count in counts.items():
        try:
            whole = operator.index(count)
        except TypeError:
            raise ConfigError(f"{name} is {count!r}; it must be a whole number.") from None
        if whole < 1:
            raise ConfigError(f"{name} is {count}; it must be at least 1.")
        if whole > MOST:
            raise ConfigError(f"{name} is {str(whole)[:20]}; it must be at most {MOST}.")
