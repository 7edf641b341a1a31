"""What a record keeps of a threat that differs from feature to feature."""

from pydantic import BaseModel, ConfigDict, Field


class FeatureRanges(BaseModel):
    """Eps and range of each feature, flattened; the eps and the distances of the record count in units of these eps."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    eps: tuple[float, ...] = Field(description="0: frozen")
    low: tuple[float, ...]
    high: tuple[float, ...]
    direction: tuple[float, ...] = Field(default=(), description="1: may only rise, -1: may only fall")
    whole: tuple[bool, ...] = Field(default=(), description="which are whole numbers")
    groups: tuple[int, ...] = Field(default=(), description="the one-hot group of each, 0 for none")
    matrix: tuple[tuple[float, ...], ...] = Field(default=(), description="relations: matrix x <= bound")
    bound: tuple[float, ...] = ()
    equal: tuple[bool, ...] = Field(default=(), description="relations that are equalities")
