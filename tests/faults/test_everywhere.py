"""One row a kind of model, one column an entrance: what reads a model says of it what it says of the plain network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import holomorph as hm
from holomorph.calculus.derivatives import hessian_vector, jacobian
from holomorph.data import load_data
from holomorph.errors import ConfigError, DataError, ModelError
from holomorph.nn.classifiers import CNN, build_classifier
from holomorph.sklearn import RobustClassifier
from holomorph.training.folder import RunConfig

# torch's own, of scripted models and where it loads its compiler
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]
THREAT = hm.ThreatModel("inf", 0.1)
X = torch.rand(13, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(13) % 3


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 3))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.network, x, use_reentrant=False)


def exported() -> nn.Module:
    return torch.export.export(network(), (X[:4],), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()


def odd_first() -> nn.Module:
    model = nn.Sequential(nn.Identity(), network())
    model[0].register_parameter("temperature", nn.Parameter(torch.ones((), dtype=torch.float64), requires_grad=False))
    return model


MODELS: dict[str, Callable[[], nn.Module]] = {
    "compiled": lambda: torch.compile(network()),
    "a compiled part": lambda: nn.Sequential(torch.compile(network())),
    "checkpointed": Checkpointed,
    "scripted": lambda: torch.jit.script(network()),
    "exported": exported,
    "data parallel": lambda: nn.DataParallel(network()),
    "odd first parameter": odd_first,
}
ENTRANCES: dict[str, Callable[[nn.Module], Any]] = {
    "rule": lambda m: hm.FiniteEnergy(THREAT)(m, X, Y).item(),
    "fit": lambda m: [
        epoch.loss
        for epoch in hm.fit(m, (X, Y), "finite", threat=THREAT, epochs=1, batch_size=5, validation=(X, Y)).history
    ],
    "attack": lambda m: hm.attack(m, X, Y, threat=THREAT).adversarial.flatten().tolist(),
    "evaluate": lambda m: hm.evaluate(m, X, Y, THREAT, checks=False).robust,
    "explain": lambda m: hm.explain(m, X, Y, threat=THREAT, only=["energies"]).energies.spike_index.value,
    "transfer": lambda m: [
        entry
        for row in hm.transfer({"a": m, "b": network()}, X, Y, threat=THREAT, steps=2).attacked[0].increase
        for entry in row
    ],
    "certify": lambda m: hm.certify(m, X, Y, THREAT, method="smoothing", sigma=0.1, draws=100).threats[0].proved,
}


@pytest.mark.slow
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", MODELS)
def test_it_works_at_every_entrance(kind: str, entrance: str) -> None:
    run = ENTRANCES[entrance]
    assert run(MODELS[kind]()) == pytest.approx(run(network()), rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_compiled_networks_have_derivatives_of_every_order_and_bounds() -> None:
    compiled, plain = torch.compile(network()), network()
    torch.testing.assert_close(jacobian(compiled, X), jacobian(plain, X))
    found, expected = (hessian_vector(lambda x, m=m: m(x).sum(1), X, X) for m in (compiled, plain))
    torch.testing.assert_close(found, expected)
    bounds = [hm.certify(m, X, Y, "inf:0.01").threats[0].radii for m in (compiled, nn.Sequential(compiled), plain)]
    assert bounds[0] == bounds[1] == bounds[2]


@pytest.mark.parametrize("name", ["cnn", "resnet", "vit"])
def test_images_with_their_channels_last_are_asked_about(name: str) -> None:
    with pytest.raises(ConfigError, match=r"the samples have shape \(28, 28, 1\).*put the channels first"):
        build_classifier(name, (28, 28, 1), 10)
    build_classifier(name, (3, 8, 8), 10)


@pytest.mark.parametrize("entrance", ["fit", "evaluate"])
def test_so_are_those_that_a_network_of_the_right_layout_is_given(entrance: str) -> None:
    x, y = np.random.default_rng(0).random((6, 8, 8, 3), np.float32), np.arange(6) % 2
    given: dict[str, Any] = {"fit": {"rule": "plain"}, "evaluate": {"threat": THREAT}}[entrance]
    with pytest.raises(ModelError, match=r"cannot take samples of shape \(8, 8, 3\).*put the channels first"):
        getattr(hm, entrance)(CNN((3, 8, 8), 2), (x, y), **given)


def test_a_file_may_say_that_its_channels_come_last(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((8, 6, 5, 3), np.float32), np.arange(8) % 2
    np.savez(tmp_path / "images.npz", x_test=x, y_test=y)
    found = load_data(f"npz:{tmp_path}/images.npz?channels=last")
    assert np.array_equal(found.x_test.numpy(), x.transpose(0, 3, 1, 2))
    np.savez(tmp_path / "table.npz", x_test=x[:, 0, 0], y_test=y)
    with pytest.raises(DataError, match=r"Samples of shape \(8, 3\) have no channels to move"):
        load_data(f"npz:{tmp_path}/table.npz?channels=last")


def test_estimators_are_fitted_where_gradients_are_off() -> None:
    with torch.inference_mode():
        assert RobustClassifier(epochs=1).fit(X.numpy(), Y.numpy()).predict(X.numpy()).shape == (13,)


def test_a_model_made_under_inference_mode_is_named() -> None:
    with torch.inference_mode():
        model = network()
    for entrance in ("rule", "evaluate", "fit"):
        with pytest.raises(ModelError, match=r"made under torch\.inference_mode.*Make the model outside of it"):
            ENTRANCES[entrance](model)


def test_opening_a_run_imports_what_is_trusted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "from torch import nn\nopen('ran', 'w').close()\ndef make():\n    return nn.Linear(6, 3)\n"
    Path("named_model.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    hm.fit(nn.Linear(6, 3), (X, Y), "plain", epochs=1, out="run")
    config = RunConfig(data="mine", model="named_model:make", shape=(6,), classes=3, rule="plain", threat=THREAT)
    config.save("run/config.json")
    for trust in (False, "another:make"):
        with pytest.raises(ConfigError, match=r"code that would be imported from where you are"):
            hm.load("run", trust=trust)
    assert not Path("ran").exists()
    assert hm.load("run", trust="named_model:make").model.weight.shape == (3, 6)
    assert Path("ran").exists()
