"""Models as users have them: every one works at every entrance, and nothing of it or of the data is changed."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from holomorph.errors import ConfigError, DataError, HolomorphWarning, ModelError
from holomorph.evaluation.attack import attack
from holomorph.evaluation.evaluate import evaluate
from holomorph.explanation.explain import explain
from holomorph.rules import PGD, TRADES, Dirichlet, FiniteEnergy, GradAlign, Hardy, JacobianPenalty, Plain
from holomorph.threats import ThreatModel
from holomorph.training.fit import fit

THREAT = ThreatModel("inf", 0.1)
X = torch.rand(24, 6, generator=torch.Generator().manual_seed(0))
RULES: dict[str, Callable[[], Any]] = {
    "plain": Plain,
    "finite": lambda: FiniteEnergy(THREAT),
    "pgd": lambda: PGD(THREAT, steps=2),
    "trades": lambda: TRADES(THREAT, steps=2),
    "dirichlet": lambda: Dirichlet(THREAT),
    "hardy": lambda: Hardy(THREAT),
}
every_rule = pytest.mark.parametrize("rule", RULES)


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3))


def predicted(model: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(X.clone()).argmax(1)


class Around(nn.Module):
    """A network with something done before and after."""

    def __init__(self, before: Callable[[Any], Any] = lambda x: x, after: Callable[[Any], Any] = lambda h: h) -> None:
        super().__init__()
        self.network, self.before, self.after = network(), before, after

    def forward(self, x: torch.Tensor) -> Any:
        return self.after(self.network(self.before(x)))


class Output(collections.OrderedDict):
    def __getattr__(self, name: str) -> Any:
        return self[name]


def through_data(x: torch.Tensor) -> torch.Tensor:
    x.data.sub_(0.5).div_(0.25)
    return x


IN_PLACE = {"sub_": lambda x: x.sub_(0.5).div_(0.25), "data": through_data, "relu": nn.ReLU(inplace=True)}
OUTPUTS = {
    "tuple": lambda h: (h, "more"),
    "dict": lambda h: {"loss": None, "logits": h},
    "object": lambda h: Output(logits=h),
}


@every_rule
@pytest.mark.parametrize("kind", IN_PLACE)
def test_a_model_that_works_in_place_changes_nothing_of_the_callers(kind: str, rule: str) -> None:
    model, x = Around(IN_PLACE[kind]), X.clone()
    y = torch.arange(24) % 3
    loss = RULES[rule]()(model, x, y)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(x, X)
    fit(model, (x, y), RULES[rule](), epochs=1)
    assert torch.equal(x, X)


@pytest.mark.parametrize("kind", IN_PLACE)
def test_and_is_measured_as_it_is(kind: str) -> None:
    model, x = Around(IN_PLACE[kind]), X.clone()
    record = evaluate(model, x, predicted(model), THREAT, quick=True, checks=False)
    assert record.clean == 1
    assert torch.equal(x, X)


def test_a_black_box_that_works_in_numpy() -> None:
    inner = network()

    def pipeline(x: torch.Tensor) -> torch.Tensor:
        array = x.detach().numpy()
        array -= 0.5
        with torch.no_grad():
            return inner(torch.from_numpy(array))

    x = X.clone()
    record = evaluate(pipeline, x, predicted(lambda x: inner(x - 0.5)), THREAT, quick=True, checks=False)
    assert record.clean == 1
    assert torch.equal(x, X)


@every_rule
@pytest.mark.parametrize("kind", OUTPUTS)
def test_logits_may_be_wrapped(kind: str, rule: str) -> None:
    wrapped, bare, y = Around(after=OUTPUTS[kind]), Around(), torch.arange(24) % 3
    assert torch.equal(RULES[rule]()(wrapped, X, y), RULES[rule]()(bare, X, y))


@every_rule
def test_one_logit_is_binary_everywhere(rule: str) -> None:
    single, double = nn.Linear(6, 1), nn.Linear(6, 2)
    with torch.no_grad():
        double.weight.copy_(torch.cat([-single.weight / 2, single.weight / 2]))
        double.bias.copy_(torch.cat([-single.bias / 2, single.bias / 2]))
    y = torch.arange(24) % 2
    torch.testing.assert_close(RULES[rule]()(single, X, y), RULES[rule]()(double, X, y))
    with pytest.raises(DataError, match="the labels run up to 2, but the model has the classes 0 to 1".capitalize()):
        RULES[rule]()(single, X, torch.arange(24) % 3)


@every_rule
def test_classes_that_are_switched_off(rule: str) -> None:
    off = torch.tensor([False, False, False, True, True])
    wide = nn.Sequential(nn.Linear(6, 5))
    narrow = nn.Sequential(nn.Linear(6, 3))
    with torch.no_grad():
        narrow[0].weight.copy_(wide[0].weight[:3])
        narrow[0].bias.copy_(wide[0].bias[:3])
    y = torch.arange(24) % 3
    found = RULES[rule]()(lambda x: wide(x).masked_fill(off, -torch.inf), X, y)
    expected = RULES[rule]()(narrow, X, y)
    scale = 3 / 5 if rule == "hardy" else 1  # a mean over the outputs, two of which never move
    assert torch.isfinite(found)
    torch.testing.assert_close(found, expected, rtol=1e-4 if scale == 1 else 1, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_that_have_switched_gradients_off(mode: Callable[[], Any]) -> None:
    model = network()
    y = predicted(model)
    with mode():
        for rule in RULES.values():
            assert not rule()(model, X, y).requires_grad
        assert evaluate(model, X, y, THREAT, quick=True, checks=False).clean == 1
        attack(model, X.double().numpy(), y.numpy(), threat=THREAT)
        fit(model, (X, y), FiniteEnergy(THREAT), epochs=1)
        assert torch.is_grad_enabled() is False


@every_rule
def test_tensors_made_under_inference_mode(rule: str) -> None:
    with torch.inference_mode():
        x = X.clone()
    loss = RULES[rule]()(network(), x, torch.arange(24) % 3)
    loss.backward()
    assert bool(loss.isfinite())


def test_frozen_layers_stay_frozen_and_modes_come_back() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3))
    model[1].eval()
    before = model[1].running_mean.clone()
    fit(model, (X, torch.arange(24) % 3), FiniteEnergy(THREAT), epochs=1, batch_size=8)
    assert torch.equal(model[1].running_mean, before)
    assert [part.training for part in model] == [True, False, True, True]
    model.eval()
    model[1].requires_grad_(False)
    fit(model, (X, torch.arange(24) % 3), FiniteEnergy(THREAT), epochs=1, batch_size=8)
    assert torch.equal(model[1].running_mean, before)
    model[1].requires_grad_(True)
    fit(model, (X, torch.arange(24) % 3), FiniteEnergy(THREAT), epochs=1, batch_size=8)
    assert not torch.equal(model[1].running_mean, before)  # a model handed over after an evaluation is trained
    assert not any(part.training for part in model.modules())


def test_a_last_batch_of_one_joins_the_one_before() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3))
    record = fit(model, (X[:17], torch.arange(17) % 3), FiniteEnergy(THREAT), epochs=1, batch_size=8)
    assert len(record.history) == 1
    assert model[1].num_batches_tracked == 2
    with pytest.raises(ModelError, match=r"BatchNorm layer in training mode was given a single sample"):
        PGD(THREAT)(model.train(), X[:1], torch.tensor([0]))


def test_models_that_were_exported() -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    model = torch.export.export(network(), (X[:4],), dynamic_shapes=shapes).module()
    y = predicted(model)
    PGD(THREAT, steps=2)(model, X, y).backward()
    fit(model, (X, y), FiniteEnergy(THREAT), epochs=1)
    assert evaluate(model, X, predicted(model), THREAT, quick=True, checks=False).clean == 1


@pytest.mark.slow
def test_a_model_that_takes_one_number_of_samples() -> None:
    model = Around(lambda x: x + torch.zeros(4, 6))
    y = predicted(network())
    record = evaluate(model, X[:22], y[:22], THREAT, quick=True, checks=False, batch_size=4)
    assert record.clean == 1
    same = evaluate(network(), X[:22], y[:22], THREAT, quick=True, checks=False, batch_size=4)
    assert record.robust == same.robust
    with pytest.raises(ModelError, match="give that as the batch size"):
        evaluate(model, X, y, THREAT, quick=True, batch_size=5)


def test_parameters_of_several_types() -> None:
    model = Around()
    model.temperature = nn.Parameter(torch.ones((), dtype=torch.float64))
    first = nn.ParameterList([model.temperature])
    mixed = nn.Sequential(collections.OrderedDict(scale=nn.Identity(), body=model))
    mixed.scale.register_parameter("temperature", first[0])
    assert next(mixed.parameters()).dtype == torch.float64
    y = predicted(mixed)
    assert evaluate(mixed, X, y, THREAT, quick=True, checks=False).clean == 1
    PGD(THREAT, steps=2)(mixed, X.double().numpy(), y.numpy()).backward()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.read = nn.Linear(6, 48), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part[:, None] for part in self.project(x).chunk(3, -1))
        return self.read(nn.functional.scaled_dot_product_attention(q, k, v)[:, 0].mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells, self.read = kind(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self.cells(x)[0][:, -1])


@pytest.mark.parametrize("rule", [Dirichlet, GradAlign, JacobianPenalty])
@pytest.mark.parametrize(
    "make", [Attention, lambda: Recurrent(nn.LSTM), lambda: Recurrent(nn.GRU)], ids=["attention", "lstm", "gru"]
)
def test_rules_that_differentiate_twice_through_fused_layers(make: Callable[[], nn.Module], rule: Any) -> None:
    model, x = make(), torch.rand(8, 5, 6)
    rule(THREAT)(model, x, torch.arange(8) % 3).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_model_compiled_before_it_is_given() -> None:
    model = torch.compile(network(), backend="eager")
    y = torch.arange(24) % 3
    assert len(fit(model, (X, y), FiniteEnergy(THREAT), epochs=1, batch_size=7).history) == 1


@pytest.mark.slow
def test_arrays_data_sets_and_loaders_are_alike() -> None:
    model = network()
    y = predicted(model)
    data = TensorDataset(X, y)
    forms = [(X, y), (X.numpy(), y.tolist()), data, DataLoader(data, 5)]
    found = [evaluate(model, form, threat="inf:0.1", quick=True, checks=False) for form in forms]
    assert len({(record.clean, record.robust, record.samples) for record in found}) == 1
    assert found[0].clean == 1
    split = evaluate(model, X.numpy().astype(np.float64), y.numpy(), "inf:0.1", quick=True, checks=False)
    assert split.clean == 1


def test_eps_in_another_unit_is_said() -> None:
    with pytest.warns(HolomorphWarning, match="less than a thousandth of the box"):
        PGD(ThreatModel("inf", "8/255", (0.0, 255.0)))
    with pytest.raises(ConfigError, match="needs a threat"):
        fit(network(), (X, torch.arange(24) % 3), "finite", epochs=1)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.network, self.reentrant = network(), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.network, x, use_reentrant=self.reentrant)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")  # torch's, without gradients
def test_gradient_checkpointing_works_or_says_what_to_do() -> None:
    y = torch.arange(24) % 3
    for rule in RULES.values():
        assert torch.equal(rule()(Checkpointed(False), X, y), rule()(network(), X, y))
    for entrance in (lambda m: PGD(THREAT)(m, X, y), lambda m: attack(m, X, y, threat=THREAT)):
        with pytest.raises(ModelError, match=r"Write checkpoint\(\.\.\., use_reentrant=False\)"):
            entrance(Checkpointed(True))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_scripted_models_and_those_of_several_devices() -> None:
    for model in (torch.jit.script(network()), nn.DataParallel(network())):
        y = predicted(model)
        FiniteEnergy(THREAT)(model, X, y).backward()
        assert evaluate(model, X, y, THREAT, quick=True, checks=False).clean == 1


def test_no_model_and_no_validation_samples() -> None:
    y = torch.arange(24) % 3
    with pytest.raises(ModelError, match="The model is NoneType, neither a module nor a function"):
        PGD(THREAT)(None, X, y)
    with pytest.raises(ModelError, match=r"fit trains a torch\.nn\.Module, not NoneType"):
        fit(None, (X, y), "plain", epochs=1)
    with pytest.raises(DataError, match="There are no samples"):
        fit(network(), (X, y), "plain", validation=(X[:0], y[:0]), epochs=1)
    with pytest.raises(DataError, match="The labels run from 5 to 7"):
        fit(network(), (X, y), "plain", validation=(X, y + 5), epochs=1)


def test_a_loaders_last_batch_of_one_is_refused_at_the_start() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    data = TensorDataset(X[:17], torch.arange(17) % 3)
    for train in (data, DataLoader(data, 8)):
        with pytest.raises(DataError, match=r"holds a single sample of 17, which BatchNorm cannot use\. Give another"):
            fit(model, train, "plain", epochs=1, batch_size=8)
    record = fit(model, DataLoader(data, 4, drop_last=True), "plain", epochs=1)
    assert record.batch_size == 4  # what the loader did


def test_what_lies_before_the_model_learns_by_a_plain_loss() -> None:
    embedding = nn.Linear(6, 6)
    Plain()(network(), embedding(X), torch.arange(24) % 3).backward()
    assert embedding.weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_networks_are_explained(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    model, x = Recurrent(kind), torch.rand(20, 3, 6)
    with torch.no_grad():
        model.read.weight *= 30
        model.read.bias -= model(x).mean(0)
    record = explain(model, x, model(x).detach().argmax(1), threat="inf:0.1", steps=5, only=["harmonicity", "energies"])
    assert record.harmonicity is not None
    assert record.energies is not None


def test_an_optimizer_of_ones_own() -> None:
    y, model = torch.arange(24) % 3, network()
    before = model[0].weight.clone()
    record = fit(model, (X, y), "plain", epochs=1, optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3))
    assert record.optimizer == "RMSprop"
    assert not torch.equal(model[0].weight, before)
    same, other = network(), network()
    fit(same, (X, y), "plain", epochs=2, lr=1e-2)
    fit(other, (X, y), "plain", epochs=2, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-2))
    torch.testing.assert_close(same[0].weight, other[0].weight)
    with pytest.raises(ConfigError, match="The optimizer holds no parameter of the model"):
        fit(network(), (X, y), "plain", epochs=1, optimizer=torch.optim.Adam(model.parameters()))
    with pytest.raises(ConfigError, match="The optimizer's factory returned NoneType"):
        fit(network(), (X, y), "plain", epochs=1, optimizer=lambda parameters: None)


@pytest.mark.parametrize("kind", [*OUTPUTS, *IN_PLACE])
def test_fit_trains_guards_and_validates_them(kind: str) -> None:
    model = Around(after=OUTPUTS[kind]) if kind in OUTPUTS else Around(IN_PLACE[kind])
    x, y = X.clone(), torch.arange(24) % 3
    record = fit(model, (x, y), FiniteEnergy(THREAT), validation=(x, y), epochs=1)
    assert record.history[0].validation_accuracy is not None
    assert "alignment" in record.history[0].measured
    assert torch.equal(x, X)


class TakingEight(nn.Module):
    """A model that takes eight samples at once, neither more nor fewer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) != 8:
            raise ValueError(f"{len(x)} samples, not 8")
        return self.layer(x)


@every_rule
def test_a_fixed_number_of_samples_is_trained_on(rule: str) -> None:
    record = fit(
        TakingEight(),
        (X, predicted(network())),
        RULES[rule](),
        epochs=1,
        batch_size=8,
        validation=(X[:9], predicted(network())[:9]),
    )
    assert record.history[0].validation_accuracy is not None


def test_an_incomplete_batch_is_refused_before_the_first_step() -> None:
    with pytest.raises(DataError, match="takes 8 samples at once, which do not divide the 20 there are"):
        fit(TakingEight(), (X[:20], predicted(network())[:20]), "plain", epochs=1, batch_size=8)
    few = DataLoader(TensorDataset(X[:20], predicted(network())[:20]), 8, drop_last=True)
    fit(TakingEight(), few, "plain", epochs=1)
