"""What page and programs are told of the model, and what a person should know before believing what the page shows."""

from __future__ import annotations

from typing import Any, Literal, get_args

from probunet.explore.calibrated import described
from probunet.explore.engine import MAXIMUM_SAMPLES
from probunet.inference.predictor import Predictor
from probunet.io.uploads import MAXIMUM_BYTES, SUFFIXES
from probunet.models.base import SegmentationModel
from probunet.runs.about import about

Format = Literal["png", "npz", "nifti", "dicomseg"]
"""In which the server gives hypotheses as files."""


def describe_model(predictor: Predictor) -> dict[str, Any]:
    """The model: classes, unit, crop, and the weights of f_comb behind the features (null without f_comb)."""
    trained = predictor.trained
    return {
        "name": trained.path.resolve().name,
        "kind": predictor.kind,
        "classes": predictor.classes,
        "channels": predictor.model.in_channels,
        "reader_names": predictor.model.reader_names,
        "unit": trained.intensity.unit,
        "crop": trained.plane,
        "title": trained.settings["input"].get("title", ""),
        "combine": _combine(predictor.model),
        "maximum_samples": MAXIMUM_SAMPLES,
        "about": [{"title": title, "lines": lines} for title, lines in about(trained).items()],
        "formats": get_args(Format),
        "upload": {"bytes": MAXIMUM_BYTES, "suffixes": SUFFIXES},
        **described(predictor),
    }


def _combine(model: SegmentationModel) -> dict[str, Any] | None:
    split = model.split
    if split is None:
        return None
    layers = [layer.state_dict() for layer in split.combine.rest]
    return {
        "from_latent": split.combine.from_latent.weight.float().tolist(),
        "layers": [
            {"weight": layer["weight"][:, :, 0, 0].float().tolist(), "bias": layer["bias"].float().tolist()}
            for layer in layers
        ],
    }
