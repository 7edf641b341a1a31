"""What a measurement is given: models, estimators, samples, threats."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from holomorph.contract.data import gather
from holomorph.contract.estimators import taken_apart
from holomorph.contract.model import precision
from holomorph.contract.receiving import receive
from holomorph.contract.snapshot import under_attack
from holomorph.contract.threats import as_threat, as_threats
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.evaluation.evaluate import evaluate
from holomorph.threats import ThreatModel

X, Y = torch.rand(10, 3), torch.arange(10) % 2


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return iter([(x, int(y)) for x, y in zip(X, Y, strict=True)])


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X.numpy(), Y.tolist()],
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), 4),
        Stream(),
        DataLoader(Stream(), 3),
    ],
    ids=["pair", "arrays", "data set", "loader", "stream", "loader of a stream"],
)
def test_samples_come_in_many_forms(data: object) -> None:
    state = torch.get_rng_state()
    x, y = gather(data, n=7)
    assert torch.equal(x, X[:7])
    assert torch.equal(y, Y[:7])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (TensorDataset(X[:0], Y[:0]), "The data set is empty"),
        (DataLoader(TensorDataset(X)), "The loader must yield pairs"),
        (X, "Cannot take samples from Tensor"),
        (None, "Cannot take samples from NoneType"),
        ((X, Y, Y), "Cannot take samples from tuple of 3"),
    ],
)
def test_other_forms_are_refused(data: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        gather(data)


def test_threats_come_as_objects_texts_and_lists() -> None:
    given = [ThreatModel("inf", 0.1), "2:0.5"]
    assert as_threats("inf:0.1,2:0.5") == as_threats(given) == [as_threat(threat) for threat in given]
    with pytest.raises(ConfigError, match="There is no threat"):
        as_threats([])
    with pytest.raises(ConfigError, match="different boxes"):
        as_threats(["inf:0.1", ThreatModel("inf", 0.1, (0, 2))])


def test_samples_move_to_the_models_precision_but_never_below_single() -> None:
    double, half = nn.Linear(3, 2).double(), nn.Linear(3, 2).half()
    assert receive(double, X, Y, "inf:0.1").x.dtype == torch.float64
    assert receive(half, X.half(), Y, "inf:0.1").x.dtype == torch.float32
    assert precision(lambda x: x) is None


def test_a_model_that_fails_is_named_by_one_sentence() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        raise KeyError("a table\nthat is not there")

    with pytest.raises(ModelError, match=r"The model cannot take samples of shape \(3,\): 'a table") as refusal:
        receive(model, X, Y, "inf:0.1")
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_an_estimator_of_scikit_learn_is_attacked_as_a_black_box() -> None:
    x, y = np.random.default_rng(0).random((40, 2)), np.array(["no", "yes"] * 20)
    y[x[:, 0] > 0.5], y[x[:, 0] <= 0.5] = "yes", "no"
    tree = DecisionTreeClassifier(random_state=0).fit(x, y)
    record = evaluate(tree, x, y, "inf:0.2", quick=True, checks=False)
    assert record.clean == 1
    assert record.robust < 1
    with pytest.raises(DataError, match="The label 'perhaps' is none of the estimator's: no, yes"):
        taken_apart(tree, ["perhaps"])
    with pytest.raises(ModelError, match="is not fitted"):
        taken_apart(DecisionTreeClassifier(), y)


def test_the_model_and_the_callers_random_states_are_left_alone() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))
    model[1].eval()
    model[2].weight.requires_grad_(False)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    with torch.inference_mode(), under_attack(model):
        assert torch.is_grad_enabled()
        assert not any(part.training for part in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
        torch.rand(3), np.random.rand(3), random.random()
    assert [part.training for part in model] == [True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
