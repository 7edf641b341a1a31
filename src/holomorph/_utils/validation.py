"""Errors of pydantic as one sentence."""

from pydantic import ValidationError


def first_sentence(error: ValidationError) -> str:
    """Say the first thing that pydantic found wrong."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in first["loc"])
    if message.endswith("."):
        return message
    return f"{where}: {message}." if where else f"{message}."
