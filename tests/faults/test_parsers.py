"""Whatever text is given, the three parsers return, or say in a sentence what they cannot read, at once."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holomorph.comparison.budget import Budget
from holomorph.errors import ConfigError
from holomorph.rules import parse
from holomorph.threats import ThreatModel

THREAT = ThreatModel("inf", 0.1)
WORDS = [
    *("plain", "pgd", "finite", "dirichlet", "growing", "inf", "weight", "steps", "measure", "ball", "epochs", "s"),
    *("2", "1e9999999", "8/255", "0.5", "10", "nan", "true", "(", ")", ",", "=", "+", "*", "-", ":", "[", "]", "'"),
]
TEXTS = st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=12).map("".join)


def refusal(read: Callable[[str], object], text: str) -> str:
    """What is said of a text that cannot be read; nothing where it is."""
    try:
        assert read(text)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("read", [lambda text: parse(text, THREAT), ThreatModel.parse_many, Budget.parse])
@settings(max_examples=150, deadline=1000)
@given(text=TEXTS)
def test_a_text_is_read_or_refused_in_a_sentence(read: Callable[[str], object], text: str) -> None:
    said = refusal(read, text)
    assert not said or (said[0].isupper() or said[0].isalpha())
    assert "\n\n" not in said


@pytest.mark.parametrize(
    "text", ["finite(segments=1000000)", "pgd(steps=" + "9" * 400 + ")", "plain" + "+plain" * 500, "(" * 900 + "plain"]
)
def test_texts_that_would_make_us_work_for_ever_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, THREAT)


@pytest.mark.parametrize("text", ["inf:1e99999999", "inf:" + "9" * 5000, "inf:1/" + "9" * 5000, "inf:1e-99999999"])
def test_radii_of_any_length_are_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        ThreatModel.parse(text)
