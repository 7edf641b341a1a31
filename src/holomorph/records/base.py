"""The base of every record and of its parts."""

import json
import os
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from holomorph._utils.interval import Interval
from holomorph._utils.io import read_plain, write_atomically
from holomorph._utils.validation import first_sentence
from holomorph.errors import DataError

__all__ = ["Interval", "Part", "Record"]


class Part(BaseModel):
    """A part of a record: frozen, with no fields but the declared ones; infinities are written as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Record(Part):
    """What a command found: frozen, saved as JSON with its kind and schema version.

    Rates and accuracies are fractions in [0, 1]; times are seconds.
    """

    KIND: ClassVar[str] = "record"
    kind: str = ""
    schema_version: int = 1

    def model_post_init(self, _context: object) -> None:
        """Fill in the kind, or refuse that of another record."""
        if self.kind == "":
            object.__setattr__(self, "kind", self.KIND)
        elif self.kind != self.KIND:
            raise ValueError(f"This is a record of kind {self.kind!r}, not {self.KIND!r}.")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the record as JSON; the file appears whole or not at all."""
        return write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a record; nothing in the file is executed."""
        try:
            return cls.model_validate_json(read_plain(path))
        except FileNotFoundError:
            raise DataError(f"There is no record at {path}.") from None
        except IsADirectoryError:
            raise DataError(f"{path} is a folder, not a record. Name the file.") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}. Name a record's file.") from None
        except (ValidationError, json.JSONDecodeError) as error:
            reason = first_sentence(error) if isinstance(error, ValidationError) else str(error)
            raise DataError(f"{path} holds no {cls.KIND} record that this version can read: {reason}") from None
