"""Derivatives that torch does not have, named by their operation."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from holomorph.errors import ModelError

#: How torch says that it lacks a derivative, forward and reverse, with the name of its kernel.
_MISSING = re.compile(r"forward AD with (?:aten::)?(\w+)|derivative for '?(?:aten::)?(\w+?)'? is not implemented")
#: Functions that torch takes for constants, without a word.
_DROPPED = re.compile(r"special_(airy_ai|(scaled_)?modified_bessel_\w+|(spherical_)?bessel_\w+)")


def check_derivative(name: str) -> None:
    """Refuse a function whose derivative torch does not have and gives as 0."""
    if _DROPPED.fullmatch(name):
        raise ModelError(f"torch gives the derivative of {name} as 0, which is wrong. Write it with other operations.")


@contextmanager
def naming_the_operation(name: str | None = None) -> Iterator[None]:
    """Turn torch's words for a derivative that it does not have into a sentence with the name of the operation."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        missing = _MISSING.search(str(error))
        if missing is None:
            raise
        found = (name or missing[1] or missing[2]).strip("_")
        raise ModelError(
            f"{found} has no derivative of this kind in torch. Write it with other operations, or use a method with "
            f"fewer or with other derivatives."
        ) from error
