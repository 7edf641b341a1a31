"""The claim of a certificate is that no attack exists: attacks at .99 of every radius must find nothing."""

import pytest
import torch

from certified_networks import NORMS, models, sharpen, violations


@pytest.mark.parametrize("norm", NORMS)
def test_no_attack_succeeds_inside_a_proved_radius(norm):
    proved = 0
    for number, (name, model, shape) in [*enumerate(models(40))][NORMS.index(norm) :: 3]:
        torch.manual_seed(number)
        x = torch.rand(3, *shape)
        dtype = torch.float32 if number % 2 else torch.float64
        _, positive, broken, _ = violations(sharpen(model, x).to(dtype), x.to(dtype), norm, steps=10, restarts=1)
        assert broken == 0, name
        proved += positive
    assert proved >= 6  # of 21 or 18: the test looks at something


@pytest.mark.campaign
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_attack_succeeds_inside_a_proved_radius_of_ten_thousand(norm, dtype):
    """About 1,700 samples a norm and precision, twenty networks each."""
    samples = 0
    for number, (name, model, shape) in enumerate(models(1000)):
        torch.manual_seed(number)
        x = torch.rand(84, *shape)
        tried, _, broken, _ = violations(sharpen(model, x).to(dtype), x.to(dtype), norm)
        assert broken == 0, name
        samples += tried
    assert samples == 84 * 20
