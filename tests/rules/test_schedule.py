"""How fast a radius grows."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holomorph.rules.schedule import Pace

BALANCED = torch.tensor([0, 1, 2, 3])
LIKE = torch.zeros(1, dtype=torch.float64)


def follow(pace, loss, y=BALANCED):
    pace.follow(torch.tensor(loss, dtype=torch.float64), y, classes=4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 3)), max_size=20), st.floats(0.01, 1))
def test_it_never_lags_behind_the_straight_line_and_never_exceeds_the_whole(course, ramp):
    pace = Pace()
    for progress, loss in sorted(course):
        assert min(1.0, progress / ramp) - 1e-15 <= float(pace.share(progress, ramp, LIKE)) <= 1.0
        follow(pace, loss)


@pytest.mark.parametrize(("loss", "share"), [(0.59 * math.log(4), 0.5), (0.61 * math.log(4), 0.02)])
def test_a_part_of_a_constant_answers_loss_decides(loss, share):
    pace = Pace()
    assert float(pace.share(0.0, 0.5, LIKE)) == 0
    follow(pace, loss)
    assert float(pace.share(0.01, 0.5, LIKE)) == pytest.approx(share)


def test_it_falls_back_where_the_network_no_longer_follows():
    pace = Pace(now=0.8, at=0.04)
    assert float(pace.share(0.045, 0.5, LIKE)) == pytest.approx(0.55)
    assert float(pace.share(0.5, 0.5, LIKE)) == 1.0


def test_rare_classes_make_a_constant_answer_good():
    """With one label in ten its loss is .325, so that .2 is not yet to follow."""
    pace, y = Pace(), torch.tensor([0] * 9 + [1])
    for loss, follows in ((0.2, False), (0.19, True)):
        follow(pace, loss, y)
        assert bool(pace.follows) is follows


def test_a_rule_that_trains_again_grows_again():
    pace = Pace()
    assert float(pace.share(1.0, 0.5, LIKE)) == 1.0
    follow(pace, 0.0)
    assert [float(pace.share(progress, 0.5, LIKE)) for progress in (0.0, 0.01)] == [0.0, 0.02]
