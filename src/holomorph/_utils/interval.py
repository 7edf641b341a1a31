"""A number with its confidence interval, and a share in words."""

from pydantic import BaseModel, ConfigDict, Field


class Interval(BaseModel):
    """A value with its confidence interval."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    value: float
    low: float
    high: float
    level: float = Field(default=0.95, description="the confidence level")


def percent(share: float) -> str:
    """Write a share in percent, for sentences.

    >>> percent(0.125)
    '12.5 %'
    """
    return f"{100 * share:.1f} %"
