"""A number with its confidence interval."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Interval(BaseModel):
    """A value with its confidence interval."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    level: float = Field(default=0.95, description="the confidence level")
