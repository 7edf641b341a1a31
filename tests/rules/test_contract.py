"""What every rule promises; a new rule in the registry is tested by being there."""

import copy
import json

import pytest
import torch
from torch import nn

from holomorph._utils.seeding import normal
from holomorph.calculus.norms import noise_length
from holomorph.errors import ConfigError, DataError, HolomorphWarning, ModelError
from holomorph.rules import RULES, Plain
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit
from rule_cases import ADVERSARIAL, IDLE, STILL, THREATS, batch, make, network, stored

every_rule = pytest.mark.parametrize("name", sorted(RULES))
LINF = THREATS[0]


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters()]


@every_rule
@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_gradient_reaches_every_parameter_and_nothing_else(name, threat):
    model, (x, y) = network(), batch()
    rule = make(name, threat)
    loss = rule(model, x, y)
    assert loss.shape == ()
    assert loss.dtype == torch.float64
    assert all(p.grad is None for p in model.parameters())  # none left behind by inner passes
    loss.backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0 or parameter is model[0].bias  # BatchNorm undoes the bias before it
    assert x.grad is None
    assert not x.requires_grad


@every_rule
def test_size_does_not_depend_on_the_batch(name):
    # The same samples once and four times: equal in the mean over draws. 5 standard errors: one false alarm in 10^6.
    model, (x, y) = network(norm=False), batch(4)

    def draws(copies):
        rule = make(name, LINF, {"measure": STILL["measure"]})
        xs, ys = x.repeat(copies, 1), y.repeat(copies)
        return torch.stack([rule(model, xs, ys).detach() for _ in range(30)])

    once, often = draws(1), draws(4)
    error = (once.var() / 30 + often.var() / 30).sqrt()
    assert abs(once.mean() - often.mean()) <= 5 * error + 1e-9


@every_rule
def test_same_seed_same_numbers_also_after_a_resume(name):
    model, (x, y) = network(), batch()

    def step(rule):
        torch.manual_seed(5)  # dropout draws from the global stream, which belongs to the training loop
        network_copy = copy.deepcopy(model)
        loss = rule(network_copy, x, y)
        loss.backward()
        return loss.detach()

    first, second = make(name, LINF, seed=3), make(name, LINF, seed=3)
    assert torch.equal(step(first), step(second))
    resumed = make(name, LINF, seed=99)
    resumed.load_state_dict(stored(first))
    assert torch.equal(step(first), step(resumed))


@every_rule
def test_modes_stay_and_batch_statistics_are_learned_once(name):
    model, (x, y) = network(), batch()
    model[3].eval()
    make(name, LINF)(model, x, y)
    assert [m.training for m in model] == [True, True, True, False, True]
    assert model[1].num_batches_tracked == 1
    model.eval()
    before = copy.deepcopy(model.state_dict())
    make(name, LINF)(model, x, y)
    assert not any(m.training for m in model.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@every_rule
def test_global_random_stream_moves_as_for_one_pass(name):
    model, (x, y) = network(), batch()
    torch.manual_seed(0)
    model(x)
    expected = torch.rand(1)
    torch.manual_seed(0)
    make(name, LINF, {"noise": 0.0})(model, x, y)
    assert torch.equal(torch.rand(1), expected)


@every_rule
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch on casts inside autocast
def test_a_step_under_autocast_with_a_scaled_loss(name, dtype):
    model, (x, y) = network().float(), batch()
    before = [p.detach().clone() for p in model.parameters()]
    step, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    with torch.autocast("cpu", dtype=dtype):
        loss = make(name, LINF)(model, x.float(), y)
    scaler.scale(loss).backward()
    scaler.step(step)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True)), "no step was taken"


@every_rule
def test_the_memory_format_of_images_is_kept(name):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(64, 3)]
    model, seen = nn.Sequential(*layers).to(memory_format=torch.channels_last), []
    model[0].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    x = torch.rand(4, 3, 6, 6).to(memory_format=torch.channels_last)
    make(name, LINF)(model, x, torch.tensor([0, 1, 2, 0])).backward()
    assert seen
    assert all(seen), f"{seen.count(False)} of {len(seen)} passes have lost it"


@pytest.mark.parametrize("name", sorted(set(RULES) - ADVERSARIAL))
def test_without_weight_it_is_plain_to_the_bit(name):
    model, (x, y) = network(), batch()
    torch.manual_seed(2)
    expected = gradients(model, Plain()(model, x, y))
    torch.manual_seed(2)
    found = gradients(model, make(name, LINF, IDLE)(model, x, y))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", [n for n in sorted(RULES) if hasattr(RULES[n], "ramp") and n != "finite"])
def test_the_ramp_begins_without_a_defence(name):  # the finite energy grows its radius
    rule = make(name, LINF, STILL, ramp=0.5)
    model, (x, y) = network(norm=False), batch()
    rule.progress = 0.0
    points = x
    if name == "weakly-harmonic":  # it integrates by parts over noise, which is there from the first step on
        points = x + noise_length(x, LINF) / 6**0.5 * normal(x.shape, x, make(name, LINF).generator)
    assert torch.equal(rule(model, x, y), torch.nn.functional.cross_entropy(model(points), y))


@every_rule
def test_hard_batches_give_finite_numbers(name):
    model, (x, y) = network(norm=False), batch()
    for xs, ys in ((x[:1], y[:1]), (x[:1].repeat(5, 1), y[:1].repeat(5)), (torch.zeros_like(x), y)):
        loss = make(name, LINF)(model, xs, ys)
        assert all(torch.isfinite(g).all() for g in gradients(model, loss))
    with torch.no_grad():
        model[2].weight *= 1e4  # saturated: the loss is huge, its gradient is the logits'
    loss = make(name, LINF)(model, x, y)
    assert all(torch.isfinite(g).all() for g in gradients(model, loss))


@every_rule
def test_a_batch_of_one_counts_as_any_other(name):
    model, (x, y) = network(norm=False), batch(1)
    loss = make(name, LINF)(model, x, y)
    loss.backward()
    assert loss < 100
    assert all(p.grad.abs().max() < 100 for p in model.parameters())


@pytest.mark.slow
@every_rule
def test_fit_learns_by_it(name):
    torch.manual_seed(0)
    x = torch.rand(256, 2)
    model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.GELU(), torch.nn.Linear(16, 2))
    before = dict(model.named_parameters())
    rule = make(name, ThreatModel("inf", 0.05), repeats=2)
    # weakly-harmonic sees errors averaged over ridges: 0.64 to 0.92 after 6 epochs, 0.90 to 0.99 after 12, five seeds
    epochs = 12 if name == "weakly-harmonic" else 6
    record = fit(model, (x, (x[:, 0] > x[:, 1]).long()), rule, epochs=epochs, batch_size=32, lr=3e-2, validation=None)
    right = (model(x).argmax(1) == (x[:, 0] > x[:, 1])).double().mean()
    assert right > 0.8  # chance is one half
    assert all(p is before[key] and p.is_leaf for key, p in model.named_parameters())
    assert record.cost == rule.cost.passes / 3 * rule.replays


@every_rule
def test_bad_input_is_refused_in_words(name):
    model, (x, y) = network(), batch()
    rule = make(name, LINF)
    with pytest.raises(DataError, match="no samples"):
        rule(model, x[:0], y[:0])
    with pytest.raises(DataError, match="NaN"):
        rule(model, x * torch.nan, y)
    with pytest.raises(DataError, match="8 samples but 3 labels"):
        rule(model, x, y[:3])
    with pytest.raises(ModelError, match="Return one row of logits a sample"):
        rule(torch.nn.Sequential(network(), torch.nn.Unflatten(1, (3, 1))), x, y)
    with pytest.raises(ConfigError, match="label_smoothing"):
        make(name, LINF, label_smoothing=1.0)


@every_rule
def test_label_smoothing_reaches_every_rule(name):
    model, (x, y) = network(norm=False), batch()
    plain, smooth = (make(name, LINF, STILL, label_smoothing=s)(model, x, y) for s in (0.0, 0.5))
    assert plain != smooth


@every_rule
def test_settings_are_json_and_cost_is_counted(name):
    rule = make(name, LINF)
    assert json.loads(json.dumps(rule.settings())).keys() == rule.settings().keys()
    assert rule.cost.passes >= Plain().cost.passes


#: Rules that differentiate a gradient, which compiled code does not allow.
TWICE = {"gradalign", "jacobian", "dirichlet", "weakly-harmonic"}


class Counting:
    """A compiler that compiles nothing and counts the pieces that it is given."""

    def __init__(self) -> None:
        self.pieces = 0

    def __call__(self, piece: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        self.pieces += 1
        return piece.forward


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(RULES) - TWICE))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rules_with_one_derivative_train_compiled_networks_on_batches_of_any_size(name):
    torch.compiler.reset()
    counting = Counting()
    model, compiled = network(norm=False), torch.compile(network(norm=False), backend=counting)
    settings = {**STILL, "steps": 2}
    for size in (8, 7, 5):
        x, y = batch(size)
        expected, found = make(name, LINF, settings)(model, x, y), make(name, LINF, settings)(compiled, x, y)
        pairs = zip(gradients(model, expected), gradients(compiled, found), strict=True)
        assert all(torch.allclose(a, b) for a, b in pairs)
    assert counting.pieces <= 8, "with and without gradients, of one size and of any, in training and evaluation mode"


@pytest.mark.parametrize("name", ["finite", "pgd"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_step_that_is_compiled_whole_breaks_twice_around_the_rule(name):
    torch.compiler.reset()
    counting, rule, model = Counting(), make(name, LINF, STILL), network(norm=False)
    step = torch.compile(lambda x, y: 2 * rule(model, x + 0, y), backend=counting)
    for size in (8, 8, 5):
        x, y = batch(size)
        assert torch.allclose(step(x, y), 2 * make(name, LINF, STILL)(model, x, y))
    assert counting.pieces <= 2 * 3, "three pieces between two breaks, of one size and of any"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_networks_are_refused_where_two_derivatives_are_needed():
    model, (x, y) = network(norm=False), batch()
    compiled = torch.compile(model, backend="aot_eager")
    for name in ("gradalign", "jacobian"):
        with pytest.raises(ConfigError, match=r"torch\.compile cannot"):
            make(name, LINF)(compiled, x, y)
    with pytest.raises(ConfigError, match="before compiling"):
        make("dirichlet", LINF, estimator="double-backward")(compiled, x, y)
    automatic = make("dirichlet", LINF)
    with pytest.warns(HolomorphWarning, match="finite differences instead"):
        automatic(compiled, x, y)
    assert automatic.cost == make("dirichlet", LINF, estimator="finite-difference").cost
    assert automatic.settings()["estimator"] == "auto"
    automatic(model, x, y)  # another network, for instance of a second training, is asked anew
    assert automatic.cost == make("dirichlet", LINF, estimator="double-backward").cost
    with pytest.warns(HolomorphWarning, match="finite differences instead"):
        automatic(compiled, x, y)


def test_threats_other_than_the_rule_knows_are_refused():
    with pytest.raises(ConfigError, match="eps must be positive"):
        make("pgd", ThreatModel("inf", 0.0))
