"""Models of torchvision: ``torchvision:resnet18``, with the preprocessing of their weights."""

from holomorph.errors import MissingExtraError
from holomorph.nn.foreign.base import ForeignModel, ModelRequest, begin_with, said
from holomorph.nn.foreign.preprocessing import Preprocessing


def torchvision_model(asked: ModelRequest) -> ForeignModel:
    """Make a model by torchvision; a pretrained one has images scaled to its size."""
    try:
        from torchvision import models
    except ImportError as error:
        raise MissingExtraError("torchvision", "torchvision") from error
    with said(f"torchvision:{asked.name}", "Give its weights, or a name from torchvision.models.list_models()."):
        weights = models.get_model_weights(asked.name).DEFAULT
        labels = tuple((name,) for name in weights.meta.get("categories", ()))
        count = len(labels) if asked.pretrained and not asked.given else asked.classes
        model = models.get_model(
            asked.name, weights=weights if asked.fetch and count == len(labels) else None, num_classes=count,
            **asked.further,
        )  # fmt: skip
        if asked.fetch and count != len(labels):
            begin_with(model, weights.get_state_dict(progress=False))
    plan = weights.transforms()
    size = (plan.crop_size[0],) * 2 if asked.pretrained else None
    shown = Preprocessing(size, mean=tuple(plan.mean), std=tuple(plan.std))
    return ForeignModel(model, shown, labels if count == len(labels) and asked.pretrained else ())
