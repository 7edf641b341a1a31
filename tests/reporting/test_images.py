import base64
import io

import numpy as np
import pytest
from PIL import Image

from holomorph.reporting.images import image, perturbation


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3)])
def test_grey_images_run_from_black_at_the_low_end_of_the_box_to_white_at_the_high_end(shape):
    drawn = pixels(image([-1, -1, 0, 1, 1, 1], shape, -1, 1))
    assert drawn.shape == (2, 3, 3)
    assert drawn[..., 0].tolist() == [[0, 0, 128], [255, 255, 255]]


def test_colour_images_keep_their_channels():
    red = np.zeros((3, 1, 2))
    red[0] = 1
    assert pixels(image(red, (3, 1, 2), 0, 1)).tolist() == [[[255, 0, 0], [255, 0, 0]]]


@pytest.mark.parametrize("shape", [(12,), (2, 6, 1), (3, 2, 2, 1)])
def test_other_shapes_are_no_images(shape):
    values = np.zeros(12)
    assert image(values, shape, 0, 1) is None
    assert perturbation(values, shape) is None


def test_perturbations_are_stretched_blue_below_and_red_above():
    low, zero, high = pixels(perturbation(np.array([-0.01, 0.0, 0.01]), (1, 3)))[0].astype(int)
    assert low[2] > low[0]
    assert high[0] > high[2]
    assert zero.min() > 240


def test_no_perturbation_is_drawn_without_dividing_by_zero():
    assert pixels(perturbation(np.zeros(4), (2, 2))).min() > 240
