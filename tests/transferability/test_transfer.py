"""Transfer where it is known: linear models, whose logits are exact to first order."""

import numpy as np
import pytest
import torch
from torch import nn

from holomorph.attacks.foolbox import FoolboxAttack
from holomorph.calculus.norms import norm
from holomorph.contract.classifier import Classifier
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.records.transfer import TransferRecord
from holomorph.threats import ThreatModel
from holomorph.transferability.effects import measured, predicted
from holomorph.transferability.examples import StrongestAPGD, gradient_step, stretched
from holomorph.transferability.metrics import Arrays, Weights, centred, prediction_score
from holomorph.transferability.similarity import parallelogram_bounds
from holomorph.transferability.transfer import transfer
from rogues import Stopping


def _linear(seed, n=8, classes=3, scale=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(n, classes, dtype=dtype)
    for parameter in model.parameters():
        parameter.data = scale * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    return model


def _data(n=8, count=30, dtype=torch.float64):
    x = 0.2 + 0.6 * torch.rand(count, n, generator=torch.Generator().manual_seed(9), dtype=dtype)
    return x, torch.arange(count) % 3


@pytest.mark.parametrize("name", ["inf", "2", "1"])
def test_the_gradient_step_is_the_best_first_order_step(name):
    """Along its own step a linear two-class loss rises to first order by eps |grad|_q: the dual norm."""
    model, (x, y) = _linear(0), _data()
    threat = ThreatModel(name, 0.1)
    step = gradient_step(model, x, y, threat)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    assert torch.allclose((g * step).sum(1), 0.1 * norm(g, threat.q))
    assert torch.allclose(norm(step, threat.p), torch.full((30,), 0.1, dtype=torch.float64))


@pytest.mark.parametrize("order", [1, 2])
def test_answers_of_a_linear_target_are_predicted_exactly(order):
    source, target, (x, y) = _linear(1), _linear(2), _data()
    step = gradient_step(source, x, y, ThreatModel("inf", 0.15))
    assert torch.equal(predicted(target, x, step, y)[order].wrong, measured(target, x, x + step, y).wrong)


def test_the_orders_of_the_remainder():
    """Halving the step divides the error of order 1 by 4 and of order 2 by 8 (a smooth network, float64)."""
    torch.manual_seed(0)
    target = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    x, y = _data()
    step = 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = {1: [], 2: []}
    for size in (1.0, 0.5):
        truth = measured(target, x, x + size * step, y).increase
        for order, effect in predicted(target, x, size * step, y).items():
            errors[order].append(float((effect.increase - truth).norm()))
    assert errors[1][0] / errors[1][1] == pytest.approx(4, rel=0.1)
    assert errors[2][0] / errors[2][1] == pytest.approx(8, rel=0.1)


def test_first_order_gain_is_the_inner_product_of_the_gradients():
    target, (x, y) = _linear(3), _data()
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(target(leaf), y, reduction="sum"), leaf)
    assert torch.allclose(predicted(target, x, step, y)[1].increase, (g * step).sum(1))


def test_apgd_returns_the_highest_loss_of_a_linear_model_even_where_nothing_is_broken():
    """Two classes: the loss is monotone in one linear form, so its maximum over the ball is the gradient step's."""
    model = _linear(4, classes=2, dtype=torch.float32)
    x, _ = _data(dtype=torch.float32)
    y, threat = model(x).argmax(1).detach(), ThreatModel("inf", 0.01)
    found = StrongestAPGD("apgd-ce", threat, 2, steps=20)(Classifier(model), x, y, 0)
    best = measured(model, x, x + gradient_step(model, x, y, threat), y)
    assert not best.wrong.all()
    assert torch.allclose(measured(model, x, found, y).increase, best.increase, rtol=1e-3, atol=1e-5)


def test_the_stretched_example_has_the_radius_and_stays_in_the_box():
    model, (x, y) = _linear(5, dtype=torch.float32), _data(dtype=torch.float32)
    threat = ThreatModel(2, 0.1)
    right = model(x).argmax(1) == y
    delta = stretched(x, FoolboxAttack("fmn", threat, steps=20)(Classifier(model), x, y, 0), threat) - x
    length = norm(delta, 2.0)
    found = length > 0  # FMN finds nothing for a few
    assert found[right].float().mean() > 0.8
    assert torch.allclose(length[found], torch.full((int(found.sum()),), 0.1), atol=1e-5)
    assert (delta[~right] == 0).all()


@pytest.mark.slow
def test_a_record_of_linear_models_predicts_the_small_attack():
    models = {f"m{k}": _linear(k, dtype=torch.float32) for k in range(4)}
    x, y = _data(dtype=torch.float32)
    record = transfer(models, x, y, threat=ThreatModel("inf", 0.005), steps=10, batch_size=15)
    second = next(s for s in record.scores if s.attack == "apgd" and s.order == 2)
    assert second.r_squared.value > 0.99
    assert second.r_squared_centred.value > 0.95
    assert second.shuffled < 0.5
    assert second.r_squared.low <= second.r_squared.value <= second.r_squared.high
    assert np.allclose(record.clean, [float((m(x).argmax(1) == y).float().mean()) for m in models.values()])
    own = np.array(record.attacked[0].increase)
    assert (own.diagonal() > 0).all()
    assert np.abs(centred(own)).max() > 0


def test_records_survive_saving(tmp_path):
    models = {"a": _linear(0, dtype=torch.float32), "b": _linear(1, dtype=torch.float32)}
    x, y = _data(dtype=torch.float32)
    record = transfer(models, x, y, threat=ThreatModel(2, 0.1), eps=[0.05, 0.1], steps=2)
    assert TransferRecord.load(record.save(tmp_path / "t")).model_dump_json() == record.model_dump_json()
    assert sorted({a.eps for a in record.attacked}) == [0.05, 0.1]
    assert record.scores == ()  # two models are too few to score


def test_labels_may_be_narrow_whole_numbers():
    models = {"a": _linear(0, dtype=torch.float32), "b": _linear(1, dtype=torch.float32)}
    x, y = _data(dtype=torch.float32)
    one, other = (transfer(models, x, labels, threat=ThreatModel(2, 0.1), steps=2) for labels in (y, y.int()))
    assert other.attacked == one.attacked


def test_models_are_left_as_they_were():
    models = {"a": nn.Sequential(nn.Linear(8, 3), nn.Dropout(0.5)), "b": _linear(1, dtype=torch.float32)}
    x, y = _data(dtype=torch.float32)
    transfer(models, x, y, threat=ThreatModel("inf", 0.05), steps=1)
    assert models["a"].training
    assert models["a"][1].training
    assert all(p.requires_grad and p.grad is None for m in models.values() for p in m.parameters())


def test_the_parallelogram_of_equal_models_is_tight_and_of_unequal_ones_vacuous():
    x, _ = _data()
    near = {
        n.pair: n
        for n in parallelogram_bounds(
            {"f": _linear(0), "same": _linear(0), "steep": _linear(1, scale=5.0)}, x, ThreatModel(2, 0.1)
        )
    }
    baselines = near["f", "same"]
    assert baselines.of_difference == pytest.approx(0, abs=1e-12)
    assert baselines.alignment == pytest.approx(1)
    for pair in near.values():
        assert pair.of_difference <= pair.trivial + 1e-12
        average = (sum(pair.energies) + 2 * pair.alignment * np.prod(pair.energies) ** 0.5) / 4
        assert pair.of_difference == pytest.approx(2 * sum(pair.energies) - 4 * average, abs=1e-12)


def test_what_is_refused():
    a, x, y = _linear(0), *_data()
    threat = ThreatModel("inf", 0.1)
    with pytest.raises(DataError, match="two models"):
        transfer({"a": a}, x, y, threat=threat)
    with pytest.raises(ModelError, match="'b': The model cannot take samples"):
        transfer({"a": a, "b": _linear(0, n=5)}, x, y, threat=threat)
    with pytest.raises(ModelError, match="numbers of classes"):
        transfer({"a": a, "b": _linear(0, classes=4)}, x, y, threat=threat)
    for name in ("steps", "batch_size"):
        with pytest.raises(ConfigError, match=f"{name} is -1; it must be at least 1"):
            transfer({"a": a, "b": a}, x, y, threat=threat, **{name: -1})


def test_a_stopped_transfer_goes_on(tmp_path):
    models = {"a": Stopping(8, 3), "b": Stopping(8, 3)}
    x, y = _data(dtype=torch.float32)

    def run(out):
        return transfer(models, x, y, threat=ThreatModel("inf", 0.05), steps=5, out=out, resume=True)

    whole = run(tmp_path / "whole")
    needed = models["b"].calls
    models["b"].calls, models["b"].limit = 0, needed - 3  # within its own turn as a source
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "t")
    assert [p.suffix for p in (tmp_path / "t" / "transfer.parts").iterdir()] == [".npz"], "one of two sources"
    models["b"].calls, models["b"].limit = 0, 10**9
    resumed = run(tmp_path / "t")
    assert models["b"].calls < needed  # the first source's part was taken from the file
    assert not (tmp_path / "t" / "transfer.parts").exists()
    assert resumed.model_copy(update={"seconds": 0}) == whole.model_copy(update={"seconds": 0})
    models["b"].calls = 0
    assert run(tmp_path / "t") == resumed
    assert models["b"].calls <= 2, "a look at what it does, no attack"
    models["b"].bias.data += 1
    with pytest.raises(ConfigError, match="is of other models, samples or settings"):
        run(tmp_path / "t")


def test_minimal_norm_examples_are_foretold_from_their_own_step():
    """Linear models: along FMN's own step the logits are exact, so the predictions are; the gradient is not."""
    models = {f"m{k}": _linear(k, classes=4, dtype=torch.float32) for k in range(4)}
    x, _ = _data(dtype=torch.float32)
    y = torch.arange(30) % 4
    record = transfer(models, x, y, threat=ThreatModel(2, 0.02), steps=20)
    scores = {(s.step, s.counted): s for s in record.scores if s.attack == "fmn" and s.order == 2}
    assert set(scores) == {("gradient", "all"), ("gradient", "right"), ("own", "right")}
    own = scores["own", "right"]
    assert own.r_squared.value > 0.999
    assert own.r_squared.value > scores["gradient", "right"].r_squared.value


def test_samples_that_do_not_count_change_nothing():
    generator = np.random.default_rng(0)
    increase, wrong = generator.normal(size=(8, 4, 4)), generator.random((8, 4, 4)) < 0.5
    right, counted = np.ones((8, 4), dtype=bool), np.ones((8, 4), dtype=bool)
    counted[5:] = False
    label = {"attack": "fmn", "eps": 0.1, "order": 1}
    truth = Arrays(increase + 0.1, ~wrong)
    got = prediction_score(label, Arrays(increase, wrong), increase, truth, Weights(right, counted))
    part = [Arrays(a.increase[:5], a.wrong[:5]) for a in (Arrays(increase, wrong), truth)]
    expected = prediction_score(label, part[0], increase[:5], part[1], Weights(right[:5], counted[:5]))
    for name in ("r_squared", "r_squared_centred", "rank_success"):
        assert getattr(got, name).value == pytest.approx(getattr(expected, name).value)
    assert got.shuffled == pytest.approx(expected.shuffled)
