"""One row an input, one column an entrance: what is refused is refused with one sentence everywhere."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import holomorph as hm
from holomorph.cli import BAD_INPUT, exit_status
from holomorph.data import Splits
from holomorph.errors import HolomorphError
from holomorph.nn.classifiers import build_classifier
from holomorph.sklearn import HolomorphicClassifier, RobustClassifier

X = torch.rand(18, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(18) % 3

Entrance = Callable[[Any, Any, Any, Any], object]


def compared(m: Any, x: Any, y: Any, t: Any) -> object:
    with TemporaryDirectory() as out:
        return hm.compare(Splits("bad", x, y, x, y, x, y, (0.0, 1.0), 3), ["plain"], t, out=f"{out}/compared")


TRAINING: dict[str, Entrance] = {
    "pgd": lambda m, x, y, t: hm.PGD(t, steps=1)(m, x, y),
    "finite": lambda m, x, y, t: hm.FiniteEnergy(t)(m, x, y),
    "trades": lambda m, x, y, t: hm.TRADES(t, steps=1)(m, x, y),
    "fit": lambda m, x, y, t: hm.fit(m, (x, y), "pgd(steps=1)", threat=t, epochs=1),
}
MEASURING: dict[str, Entrance] = {
    "attack": lambda m, x, y, t: hm.attack(m, x, y, threat=t),
    "evaluate": lambda m, x, y, t: hm.evaluate(m, x, y, t, quick=True, checks=False),
    "explain": lambda m, x, y, t: hm.explain(m, x, y, threat=t),
    "transfer": lambda m, x, y, t: hm.transfer({"a": m, "b": m}, x, y, threat=t, steps=1),
    "certify": lambda m, x, y, t: hm.certify(m, x, y, t),
}
ENTRANCES = TRAINING | MEASURING | {"compare": compared}


def linear() -> nn.Module:
    return nn.Linear(4, 3)


class Returning(nn.Module):
    """A model whose logits are turned into something else."""

    def __init__(self, change: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(4, 3), change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(self.layer(x))


def with_nan() -> torch.Tensor:
    x = X.clone()
    x[3, 1] = torch.nan
    return x


#: What is given instead of a good model, samples, labels and threat, and what is said.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "8-bit images": ({"x": 255 * X}, r"outside the box \[0, 1\]\. Divide 8-bit images by 255"),
    "normalised": ({"x": (X - 0.45) / 0.22}, r"They look normalised: .* holomorph\.nn\.Normalise\(mean, std\)"),
    "another scale": ({"x": 1e4 * X}, r"outside the box \[0, 1\]\. Scale the data or state their box"),
    "NaN": ({"x": with_nan()}, r"The samples hold NaN or infinite values\. Remove or impute them first"),
    "infinity": ({"x": X / 0}, r"The samples hold NaN or infinite values\. Remove or impute them first"),
    "bytes": ({"x": (255 * X).to(torch.uint8)}, r"The samples are torch\.uint8; .* divide images by 255"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, r"There are no samples\. Give a batch|has no train samples"),
    "words": ({"x": "samples"}, r"The samples are not numbers"),
    "labels missing": ({"y": Y[:5]}, r"There are 18 (train )?samples but 5 labels\. Give one label a sample"),
    "float labels": ({"y": Y.float()}, r"The labels are torch\.float32 of shape \(18,\)\. .* write y\.long\(\)"),
    "boolean labels": ({"y": Y > 0}, r"The labels are torch\.bool of shape \(18,\)\. .* write y\.long\(\)"),
    "column": ({"y": Y[:, None]}, r"of shape \(18, 1\)\. .* For a column write y\.squeeze\(1\)"),
    "one-hot": ({"y": nn.functional.one_hot(Y)}, r"of shape \(18, 3\)\. .* For one-hot rows write y\.argmax\(1\)"),
    "ignored": ({"y": Y.where(Y > 0, -100)}, r"run from -100 to 2; .* Leave samples out whose label means that"),
    "signs": ({"y": 2 * (Y % 2) - 1}, r"Write -1 and 1 as 0 and 1"),
    "too large": ({"y": Y + 7}, r"The labels run .*to 9[;,] .*(0\.\.2|the classes 0 to 2|outputs for 10 classes)"),
    "a word returned": ({"model": Returning(lambda h: "logits")}, r"The model returned str, not logits"),
    "complex": ({"model": Returning(lambda h: h + 0j)}, r"complex numbers\. Add a read-out"),
    "classes returned": ({"model": Returning(lambda h: h.argmax(1))}, r"Return logits, not predicted classes"),
    "wrong shape": ({"model": Returning(lambda h: h.T)}, r"Return one row of logits a sample: \(batch, classes\)"),
    "threat as number": ({"threat": 0.1}, r"A threat is a ThreatModel or a text such as 'inf:8/255', not float"),
    "threat misspelled": ({"threat": "inf8/255"}, r"Cannot read the threat 'inf8/255'"),
    "endless eps": ({"threat": "inf:1e99999999"}, r"eps must be positive and finite, not 1e99999999"),
    "eps of words": ({"threat": "inf:many"}, r"eps 'many' is not a number or a fraction such as 8/255"),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("bad", BAD)
def test_it_is_refused_with_the_same_sentence_everywhere(bad: str, entrance: str) -> None:
    change, sentence = BAD[bad]
    if (bad == "bytes" and entrance in ("fit", "compare")) or ("model" in change and entrance == "compare"):
        pytest.skip("8-bit images are divided there; compare makes its models itself")
    given = {"model": linear(), "x": X, "y": Y, "threat": "inf:0.1"} | change
    if bad == "too large":
        sentence = r"(The labels run .*to 9[;,]|outputs for 10 classes)"
    with pytest.raises(HolomorphError, match=sentence) as refusal:
        ENTRANCES[entrance](given["model"], given["x"], given["y"], given["threat"])
    assert "\n" not in str(refusal.value)


#: The same commands on the bad samples in a file; a network that returns the wrong thing comes from a user's module.
COMMANDS = {
    name: [name, *options]
    for name, options in {
        "train": ["--rule", "plain", "--epochs", "1", "--no-baseline"],
        "run": ["--epochs", "1"],
        "compare": ["--rules", "plain"],
        "evaluate": ["--quick"],
        "certify": [],
        "explain": [],
    }.items()
}
#: What is said of a file where it differs, for there the file is named.
OF_FILES = {
    "no samples": r"x_train is empty\. Give at least one sample",
    "labels missing": r"x_train has 18 samples but y_train has 5 labels",
    "float labels": r"Labels of type float32 must be whole numbers 0\.\.K-1\. Encode them as integers",
    "boolean labels": r"Labels of type bool must be whole numbers 0\.\.K-1\. Encode them as integers",
    "column": r"y_train has the shape \(18, 1\)\. Give one label a sample",
    "one-hot": r"y_train has the shape \(18, 3\)\. Give one label a sample",
    "too large": r"no training sample has the label 0\. Number the classes 0\.\.2",
    "threat as number": r"Cannot read the threat '0\.1'\. Write NORM:EPS, for instance inf:8/255 or 2:0\.5",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("bad", [bad for bad in BAD if bad not in ("bytes", "words")])  # bytes are images in a file
def test_the_commands_refuse_it_too(bad: str, command: str, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    change, sentence = BAD[bad]
    given = {"model": linear(), "x": X, "y": Y, "threat": "inf:0.1"} | change
    x, y, model = given["x"].numpy(), given["y"].numpy(), given["model"]
    np.savez(tmp_path / "bad.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.setitem(sys.modules, "user_models", SimpleNamespace(make=lambda: model))
    network = ["user_models:make"] if command in ("evaluate", "certify", "explain") else ["--model", "user_models:make"]
    options = ["--data", f"npz:{tmp_path}/bad.npz", "--box", "0", "1", "--threat", str(given["threat"]), "--quiet"]
    assert exit_status([*COMMANDS[command], *network, *options, "--out", str(tmp_path / "out")]) == BAD_INPUT
    said = capsys.readouterr().err.strip()
    assert re.fullmatch(f"holomorph: .*({OF_FILES.get(bad, sentence)}).*", said), said
    assert not (tmp_path / "out").exists()


#: What scikit-learn itself says before an estimator sees the samples; the other rows are data that estimators scale.
OF_ESTIMATORS = {
    "NaN": "Input X contains NaN",
    "infinity": "Input X contains infinity",
    "no samples": r"Found array with 0 sample\(s\)",
    "words": "could not convert string to float|Expected 2D array",
    "labels missing": r"inconsistent numbers of samples: \[18, 5\]",
    "one-hot": "y should be a 1d array",
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize(
    "estimator", [RobustClassifier(epochs=1), HolomorphicClassifier()], ids=["robust", "holomorphic"]
)
@pytest.mark.parametrize("bad", [bad for bad in BAD if not {"model", "threat"} & set(BAD[bad][0])])
def test_the_estimators_refuse_what_scikit_learn_refuses_and_learn_the_rest(bad: str, estimator: Any) -> None:
    given = {"x": X, "y": Y} | BAD[bad][0]
    x, y = (part.numpy() if isinstance(part, torch.Tensor) else part for part in (given["x"], given["y"]))
    if bad in OF_ESTIMATORS:
        with pytest.raises(ValueError, match=OF_ESTIMATORS[bad]):
            estimator.fit(x, y)
    else:
        assert set(estimator.fit(x, y).predict(x)) <= set(y.ravel())


@pytest.mark.parametrize("entrance", TRAINING)
def test_class_probabilities_are_labels_for_training(entrance: str) -> None:
    soft = nn.functional.one_hot(Y).float() * 0.9 + 0.1 / 3
    TRAINING[entrance](linear(), X, soft, "inf:0.1")
    with pytest.raises(HolomorphError, match=r"each must be non-negative and sum to 1\. Several labels"):
        TRAINING[entrance](linear(), X, 2 * soft, "inf:0.1")


@pytest.mark.parametrize("entrance", MEASURING)
def test_class_probabilities_are_no_labels_for_measuring(entrance: str) -> None:
    with pytest.raises(HolomorphError, match=r"Give one whole number 0\.\.K-1 a sample\."):
        MEASURING[entrance](linear(), X, nn.functional.one_hot(Y).float(), "inf:0.1")


@pytest.mark.parametrize(("second", "sentence"), [(255 * X, "Divide 8-bit images"), (X / 0, "NaN or infinite")])
def test_every_batch_of_a_loader_is_looked_at(second: torch.Tensor, sentence: str) -> None:
    data = TensorDataset(torch.cat([X, second]), torch.cat([Y, Y]))
    with pytest.raises(HolomorphError, match=sentence):
        hm.fit(linear(), DataLoader(data, 18), "pgd(steps=1)", threat="inf:0.1", epochs=1)


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("finite(segments=1000000)", r"segments is above 10000, which no training would end with"),
        ("pgd(steps=" + "9" * 400 + ")", r"steps is above 10000"),
        ("finite(weight=1e999)", r"weight is inf; it must be finite"),
        ("finite(" + "(" * 2000 + ")", r"The rule's text has 2008 characters"),
        ("(" * 400, r"Cannot read the rule"),
        ("finte", r"Unknown rule 'finte'. Did you mean 'finite'"),
        ("pgd(seed=99999999999999999999)", r"seed is 99999999999999999999; it must lie between 0 and"),
        (3, r"A rule is an object such as Plain\(\) or a text such as 'finite', not int"),
    ],
)
def test_texts_of_rules_that_would_never_end(rule: Any, sentence: str) -> None:
    with pytest.raises(HolomorphError, match=sentence):
        hm.fit(linear(), (X, Y), rule, threat="inf:0.1", epochs=1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 10**20}, r"epochs is 10{19}; it must be at most 2147483647"),
        ({"epochs": 10**7}, r"epochs is 10000000; it must be at most 1000000"),
        ({"batch_size": 10**23}, r"batch_size is 10{19}; it must be at most"),
        ({"batch_size": 2.5}, r"batch_size is 2\.5; it must be a whole number"),
        ({"epochs": "many"}, r"epochs is 'many'; it must be a whole number"),
        ({"weight_decay": float("nan")}, r"weight_decay is nan; it must be 0 or more, and finite"),
        ({"lr": float("inf")}, r"The learning rate is inf; it must be positive"),
        ({"seed": 10**20}, r"seed is 10{19}; it must lie between 0 and"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"ema": 1.0}, r"ema is 1\.0"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
        ({"device": "cuda:x"}, "Cannot read the device 'cuda:x'"),
        ({"device": "tpuu"}, "The device 'tpuu' cannot be used"),
    ],
)
def test_settings_that_no_training_has(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HolomorphError, match=sentence):
        hm.fit(linear(), (X, Y), "plain", **{"epochs": 1, **settings})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mlp?width=-1", r"width is -1; it must lie between 0 and 65536"),
        ("mlp?width=1000000000", r"width is 1000000000; it must lie between"),
        ("mlp?depth=deep", r"The model 'mlp\?depth=deep' cannot be made"),
        ("mlp?wdth=3", r"Unknown setting of the model 'mlp' 'wdth'. Did you mean 'width'"),
    ],
)
def test_sizes_that_no_network_has(name: str, sentence: str) -> None:
    with pytest.raises(HolomorphError, match=sentence):
        build_classifier(name, (4,), 3)
