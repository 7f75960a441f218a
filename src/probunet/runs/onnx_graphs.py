"""The Probabilistic U-Net as two ONNX graphs, which sample without torch (``pip install 'probunet[onnx]'``).

- ``encode.onnx``: ``image`` (B, C, H, W), normalised, to ``features`` (B, F, H, W), ``prior_mean`` and
  ``prior_log_sigma`` (B, D), once an image;
- ``decode.onnx``: ``features`` (B, F, H, W) and ``z`` (B, D) to ``logits`` (B, K, H, W), once a hypothesis, with
  z = prior_mean + exp(prior_log_sigma) * noise.

Batch, height and width are free (16 px or more). The features are W_f f + b, the part of f_comb's first layer that the
hypotheses of an image share. ``probunet.json`` beside them says how raw values are normalised and what the classes are.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.distributions import Independent

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.models.base import SegmentationModel
from probunet.nets.combine import Combine, Split
from probunet.nets.unet import MINIMUM_SIZE

OUTPUTS = ["features", "prior_mean", "prior_log_sigma"]
TOLERANCE = 1e-4
"""Largest difference from PyTorch, of any output, relative to its largest value where that is above 1."""


class Encode(nn.Module):
    """From an image to what all its hypotheses share.

    Args:
        split: the halves of the model.
    """

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.unet, self.prior, self.combine = split.unet, split.prior, split.combine
        self.latent_dims = split.latent_dims

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Run the U-Net and the prior net.

        The padding, by repeating the last row and column, is done by gathering: a graph cannot decide to pad.
        """
        height, width = image.shape[-2:]
        rows, columns = (
            torch.arange((size + multiple - 1) // multiple * multiple).clamp(max=size - 1)
            for size, multiple in zip((height, width), self.unet.encoder.scales.multiple, strict=True)
        )
        padded = image[:, :, rows][:, :, :, columns]
        features = self.combine.project(self.unet(padded))[..., :height, :width]
        if self.prior is None:
            zeros = padded.mean(dim=(1, 2, 3))[:, None] * torch.zeros(1, self.latent_dims)
            return features, zeros, zeros
        prior: Independent = self.prior(padded)
        return features, prior.base_dist.loc, prior.base_dist.scale.log()


def write_onnx(model: SegmentationModel, folder: Path) -> float:
    """Write both graphs and check them in onnxruntime.

    Args:
        model: one that is ``split``, with an axis-aligned Gaussian prior.
        folder: to write into.

    Returns:
        Largest difference from PyTorch that was found; see ``check``.

    Raises:
        InputError: another model, one of volumes, a missing package, or graphs that do not do what the model does.
    """
    if model.dims != 2:
        raise InputError("a model of volumes has no ONNX form; export it as a folder")
    if model.split is None:
        raise InputError(f"a {type(model).__name__} without f_comb has no ONNX form; export it as a folder")
    if not model.split.gaussian:
        raise InputError("a prior that is no axis-aligned Gaussian has no ONNX form; export it as a folder")
    for package in ("onnxruntime", "onnxscript"):
        require(package, "ONNX")
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    split = model.split
    encode = Encode(split).eval()
    with _quietly():
        features = _write_encode(encode, torch.zeros(2, model.in_channels, 37, 50), folder / "encode.onnx")
        _write_decode(split.combine, features, torch.zeros(2, split.latent_dims), folder / "decode.onnx")
    difference = check(model, folder)
    if not difference <= TOLERANCE:
        raise InputError(f"the ONNX graphs differ from the model by {difference:g}, above {TOLERANCE:g}")
    return difference


def _free(names: str, least: int) -> list[torch.export.Dim]:
    return [torch.export.Dim(name, min=least, max=1 << 14) for name in names.split()]


def _write_encode(encode: Encode, image: torch.Tensor, file: Path) -> torch.Tensor:
    (batch,), (height, width) = _free("batch", 1), _free("height width", MINIMUM_SIZE)
    _write(encode, (image,), ({0: batch, 2: height, 3: width},), ["image"], OUTPUTS, file)
    with torch.inference_mode():
        return encode(image)[0]


def _write_decode(combine: Combine, features: torch.Tensor, z: torch.Tensor, file: Path) -> None:
    (batch,), (height, width) = _free("batch", 1), _free("height width", MINIMUM_SIZE)
    shapes = ({0: batch, 2: height, 3: width}, {0: batch})
    _write(combine, (features.clone(), z), shapes, ["features", "z"], ["logits"], file)


def _write(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    shapes: tuple[dict[int, torch.export.Dim], ...],
    names: list[str],
    outputs: list[str],
    file: Path,
) -> None:
    program = torch.onnx.export(
        module,
        inputs,
        dynamic_shapes=shapes,
        dynamo=True,
        input_names=names,
        output_names=outputs,
        verbose=False,
    )
    assert program is not None
    program.save(file)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the exporter says about its own workings from the user, errors excepted."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def check(model: SegmentationModel, folder: Path) -> float:
    """Run both graphs in onnxruntime on random images of several sizes, beside the model.

    Returns:
        Largest difference of features, prior mean, prior log sigma and logits; relative to the largest value of an
        output where that is above 1.
    """
    from onnxruntime import InferenceSession

    encode, decode = (InferenceSession(folder / f"{name}.onnx") for name in ("encode", "decode"))
    generator, worst = torch.Generator().manual_seed(0), 0.0
    split = model.cpu().split
    assert split is not None
    for batch, height, width in ((1, 64, 64), (3, 37, 50), (2, 16, 129)):
        image = torch.randn(batch, model.in_channels, height, width, generator=generator)
        z = torch.randn(batch, split.latent_dims, generator=generator)
        with torch.inference_mode():
            latent = model(image).latent
            assert latent is not None
            assert latent.axes is not None
            mean, sigma = latent.axes
            expected = [split.project(image), mean, sigma.log(), latent.logits(z)]
        found = encode.run(OUTPUTS, {"image": image.numpy()})
        found += decode.run(["logits"], {"features": found[0], "z": z.numpy()})
        for one, other in zip(found, expected, strict=True):
            if one.shape != tuple(other.shape):
                return float("inf")
            worst = max(worst, float(np.abs(one - other.numpy()).max() / max(1.0, float(other.abs().max()))))
    return worst
