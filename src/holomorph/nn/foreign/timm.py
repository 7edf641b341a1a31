"""Models of timm: ``timm:resnet18``, with the preprocessing that timm states for them."""

from holomorph.errors import MissingExtraError
from holomorph.nn.foreign.base import ForeignModel, ModelRequest, said
from holomorph.nn.foreign.preprocessing import Preprocessing


def timm_model(asked: ModelRequest) -> ForeignModel:
    """Make a model by timm; a network of fixed input size, and a pretrained one, has images scaled to its size."""
    try:
        import timm
        from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config
    except ImportError as error:
        raise MissingExtraError("timm", "timm") from error
    own = asked.pretrained and not asked.given
    remedy = "Give its weights, or a name from timm.list_models() with ?pretrained=no."
    with said(f"timm:{asked.name}", remedy):
        count = {} if own else {"num_classes": asked.classes}
        model = timm.create_model(asked.name, pretrained=asked.fetch, in_chans=asked.shape[0], **count, **asked.further)
        config = resolve_model_data_config(model)
    fixed = asked.pretrained or model.pretrained_cfg.get("fixed_input_size", False)
    labels: tuple[tuple[str, ...], ...] = ()
    if own and (subset := infer_imagenet_subset(model)) is not None:
        known = ImageNetInfo(subset)
        labels = tuple((known.index_to_label_name(k), *known.index_to_description(k).split(", "))
                       for k in range(known.num_classes()))  # fmt: skip
    mean, std = (_channels(config[part], asked.shape[0]) for part in ("mean", "std"))
    return ForeignModel(
        model, Preprocessing(tuple(config["input_size"][1:]) if fixed else None, mean=mean, std=std), labels
    )


def _channels(values: tuple[float, ...], count: int) -> tuple[float, ...]:
    return tuple(values) if count == len(values) else (sum(values) / len(values),)
