"""What every built-in classifier promises; a new one in the registry is tested by being there."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holomorph.errors import ConfigError
from holomorph.nn.classifiers import MODELS, ResNet, ViT, build_classifier

every_model = pytest.mark.parametrize("name", sorted(MODELS))
SMALL = {"vit": {"width": 16, "depth": 2}, "resnet": {"depth": 8, "width": 4}, "cnn": {"width": 4}, "mlp": {"width": 8}}


def make(name, shape=(1, 8, 8), **settings):
    torch.manual_seed(0)
    return build_classifier(name, shape, 3, **{**SMALL[name], **settings})


@every_model
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 12, 20)])
def test_images_of_any_size_become_logits(name, shape):
    assert make(name, shape)(torch.rand(2, *shape)).shape == (2, 3)


@every_model
def test_every_parameter_is_trained(name):
    model, x = make(name), torch.rand(6, 1, 8, 8)
    cross_entropy(model(x), torch.tensor([0, 1, 2] * 2)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@every_model
def test_in_evaluation_mode_a_prediction_depends_on_its_own_sample_alone(name):
    model, x = make(name).double().eval(), torch.rand(5, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


@every_model
def test_the_loss_has_a_second_derivative(name):
    """By autograd twice, against central differences of the first one."""
    model = make(name, activation="silu").double().eval()
    x, v = torch.rand(2, 1, 8, 8, dtype=torch.float64), torch.randn(2, 1, 8, 8, dtype=torch.float64)

    def slope(z, graph=False):
        z = z.clone().requires_grad_()
        (g,) = torch.autograd.grad(model(z).square().sum(), z, create_graph=graph)
        return g, z

    g, z = slope(x, graph=True)
    (found,) = torch.autograd.grad((g * v).sum(), z)
    expected = (slope(x + 1e-5 * v)[0] - slope(x - 1e-5 * v)[0]) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@every_model
def test_an_unknown_activation_is_refused(name):
    with pytest.raises(ConfigError, match="Unknown activation 'gelo'"):
        make(name, activation="gelo")


@pytest.mark.parametrize("name", ["cnn", "resnet", "vit"])
def test_what_is_no_image_is_refused(name):
    with pytest.raises(ConfigError, match=f"The model '{name}' takes images .* the samples have shape \\(20,\\)"):
        build_classifier(name, (20,), 3)


@pytest.mark.parametrize(("depth", "convolutions"), [(8, 7 + 2), (20, 19 + 2)])
def test_a_residual_network_is_as_deep_as_it_says(depth, convolutions):
    model = ResNet((3, 32, 32), 10, depth=depth)
    found = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(found) == convolutions  # two of them change the shape on the short way
    if depth == 20:
        assert sum(p.numel() for p in model.parameters()) == 272_282


def test_without_its_branches_a_residual_block_is_the_identity():
    block = ResNet((3, 8, 8), 10, depth=8)[1]
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 16, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("layer", nn.GroupNorm), ("none", nn.Identity)],
)
def test_residual_networks_take_any_normalisation(norm, kind):
    model = ResNet((1, 8, 8), 3, depth=8, norm=norm)
    assert len([m for m in model.modules() if type(m) is kind]) == 7
    if norm == "layer":
        x = torch.rand(2, 1, 8, 8)
        torch.testing.assert_close(model[1].norm1(5 * model[0](x)), model[1].norm1(model[0](x)), rtol=1e-2, atol=1e-3)


def test_a_transformer_sees_where_a_patch_is():
    torch.manual_seed(0)
    model = ViT((1, 8, 8), 3, patch=4, width=8, heads=2, depth=1).eval()
    x = torch.rand(1, 1, 8, 8)
    swapped = torch.cat([x[..., 4:], x[..., :4]], -1)
    assert not torch.allclose(model(x), model(swapped), atol=1e-5)
    nn.init.zeros_(model.position)
    torch.testing.assert_close(model(x), model(swapped))


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("resnet", {"depth": 9}, "depth is 9; a residual network of three stages has 8, 14, 20"),
        ("resnet", {"norm": "weight"}, "Unknown normalisation 'weight'"),
        ("resnet", {"width": 0}, "width is 0; give at least 1 channel"),
        ("vit", {"patch": 3}, "patch is 3; it must divide the sides of the images, 8 and 8"),
        ("vit", {"heads": 3}, "3 heads do not divide a width of 16"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make(name, **settings)


def test_settings_may_follow_the_name():
    model = build_classifier("resnet?depth=14&norm=group&width=8", (3, 8, 8), 4)
    assert len([m for m in model.modules() if isinstance(m, nn.GroupNorm)]) == 13
    with pytest.raises(ConfigError, match=r"Unknown setting of the model 'resnet' 'deph'\. Did you mean 'depth'\?"):
        build_classifier("resnet?deph=14", (3, 8, 8), 4)
    with pytest.raises(ConfigError, match=r"Cannot read the settings 'depth'\. Write them as"):
        build_classifier("resnet?depth", (3, 8, 8), 4)


FACTORIES = """
from torch import nn
class Named(nn.Linear):
    def __init__(self, num_classes, input_shape, bias=True):
        super().__init__(input_shape[0], num_classes, bias)
def one(classes):
    return nn.Linear(4, classes)
def free(width=3):
    return nn.Linear(4, 3)
made = nn.Linear(4, 3)
def odd(shape, depth):
    return made
def text(shape):
    return "model"
number = 7
"""


def test_factories_are_called_by_the_names_of_their_arguments(tmp_path, monkeypatch):
    (tmp_path / "factories_of_a_user.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Named", "one", "free", "made"):
        model = build_classifier(f"factories_of_a_user:{name}", (4,), 3)
        assert (model.in_features, model.out_features) == (4, 3)
    for name, sentence in (
        ("odd", "cannot be called: it raised TypeError: .*depth"),
        ("text", "returned str, not a torch.nn.Module"),
        ("number", "is int, not a function that returns a model"),
        ("none", "Cannot import 'factories_of_a_user:none'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            build_classifier(f"factories_of_a_user:{name}", (4,), 3)
