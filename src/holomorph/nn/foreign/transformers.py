"""Image classifiers of transformers, saved in a folder: ``hf:PATH``."""

import json
from pathlib import Path
from typing import Any

from holomorph.errors import ConfigError, MissingExtraError
from holomorph.nn.foreign.base import ForeignModel, ModelRequest, said
from holomorph.nn.foreign.preprocessing import Preprocessing


def transformers_model(asked: ModelRequest) -> ForeignModel:
    """Make what ``save_pretrained`` has written; its folder says how images are scaled and normalised."""
    folder = Path(asked.name)
    if not (folder / "config.json").is_file():
        raise ConfigError(f"There is no model at {folder}. Give the folder that save_pretrained has written.")
    try:
        from transformers import AutoConfig, AutoModelForImageClassification
    except ImportError as error:
        raise MissingExtraError("transformers", "huggingface") from error
    with said(f"hf:{asked.name}", "Give a folder with an image classifier that transformers knows."):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        own = config.num_labels
        config.num_labels = own if asked.pretrained and not asked.given else asked.classes
        if asked.fetch:
            model = AutoModelForImageClassification.from_pretrained(
                folder, config=config, local_files_only=True, ignore_mismatched_sizes=config.num_labels != own
            )
        else:
            model = AutoModelForImageClassification.from_config(config)
    labels = tuple((str(config.id2label[k]),) for k in range(config.num_labels)) if config.num_labels == own else ()
    return ForeignModel(model, _preprocessing(folder, config), labels)


def _preprocessing(folder: Path, config: Any) -> Preprocessing:
    path = folder / "preprocessor_config.json"
    noted = json.loads(path.read_text()) if path.is_file() else {}
    side = noted.get("crop_size", noted.get("size")) or getattr(config, "image_size", None)
    if isinstance(side, dict):
        side = [side.get("height", side.get("shortest_edge")), side.get("width", side.get("shortest_edge"))]
    size = (side, side) if isinstance(side, int) else tuple(side or ())[-2:]
    scale = noted.get("rescale_factor", 1 / 255) if noted.get("do_rescale", True) else 1.0
    normal = noted.get("do_normalize", "image_mean" in noted)
    mean, std = (
        tuple(noted[key]) if normal else (default,) for key, default in (("image_mean", 0.0), ("image_std", 1.0))
    )
    return Preprocessing(size if len(size) == 2 else None, box=(0.0, 255 * scale), mean=mean, std=std)
