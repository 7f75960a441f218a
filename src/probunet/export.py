"""``probunet export``: a trained model to pass on, as a folder for probunet or as two ONNX graphs for anything else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import nn

from probunet.errors import InputError
from probunet.files import writing_folder
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.nets.combine import Combine
from probunet.nets.gaussian import GaussianNet
from probunet.progress import console
from probunet.run import Run, write_json
from probunet.saved import open_model, save_run


def export(model: Path, out: Path, format: Literal["folder", "onnx"] = "folder", licence: str = "not given") -> None:
    """Write a trained model as a folder that probunet loads, or as ONNX graphs.

    ONNX: encode.onnx turns images (B, C, H, W) into features (B, F, H, W) and the prior's mean and log sigma (B, D),
    decode.onnx features and z (B, D) into logits (B, K, H, W). Height and width are multiples of what the pooling
    divides by, which probunet.json tells with everything else about the input.

    Args:
        model: run directory, or (for ONNX) an exported folder.
        out: folder to make.
        format: folder or onnx.
        licence: of the weights, as text.

    Raises:
        InputError: no model, one that cannot be split into two graphs, or the folder exists already.
    """
    trained = open_model(model)
    if format == "onnx":
        built = trained.model()
        if not isinstance(built, ProbabilisticUNet):
            raise InputError(f"{model} is a {type(built).__name__}; only a ProbabilisticUNet has two graphs to export")
        with writing_folder(out) as folder:
            write_onnx(built, folder)
            facts = {key: trained.settings[key] for key in ("model", "input")}
            write_json(folder / "probunet.json", {**facts, "multiple": built.unet.encoder.multiple, "licence": licence})
    elif isinstance(trained, Run):
        save_run(trained, out, licence)
    else:
        raise InputError(f"{model} is an exported folder already; copy it, or choose --format onnx")
    console.print(f"{model} is exported to {out}")


@final
class Encode(nn.Module):
    """Images to the features that f_comb starts from, and to mean and log sigma of the prior."""

    def __init__(self, model: ProbabilisticUNet, combine: Combine, prior: nn.Module) -> None:
        super().__init__()
        self.unet, self.combine, self.prior = model.unet, combine, prior

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, C, H, W) to (B, F, H, W), (B, D), (B, D)."""
        law = self.prior(image)
        return self.combine.project(self.unet(image)), law.mean, law.stddev.log()


def write_onnx(model: ProbabilisticUNet, folder: Path) -> None:
    """Write encode.onnx and decode.onnx, for any batch and any size that the pooling divides.

    Args:
        model: with an f_comb and a conditional, axis-aligned prior.
        folder: to write into.

    Raises:
        InputError: another prior, no f_comb, or onnx and onnxscript are not installed.
    """
    combine, prior = model.combine, model.prior
    if combine is None or not isinstance(prior, GaussianNet):
        raise InputError("two ONNX graphs need inject='end' and a conditional, axis-aligned prior")
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{folder}: ONNX needs onnx and onnxscript: pip install 'probunet[onnx]'") from error
    model, multiple = model.to(memory_format=torch.contiguous_format), model.unet.encoder.multiple  # type: ignore[call-overload]
    batch, rows, columns = (torch.export.Dim(name, min=1, max=1024) for name in ("batch", "rows", "columns"))
    image = torch.zeros(2, model.in_channels, 5 * multiple, 6 * multiple)
    encode = Encode(model, combine, prior)
    _write(
        encode,
        (image,),
        folder / "encode.onnx",
        (["image"], ["features", "prior_mean", "prior_log_sigma"]),
        {"image": {0: batch, 2: multiple * rows, 3: multiple * columns}},
    )
    height, width = (torch.export.Dim(name, min=2, max=1 << 15) for name in ("height", "width"))
    _write(
        combine,
        (encode(image)[0].detach(), torch.zeros(2, model.latent_dims)),
        folder / "decode.onnx",
        (["features", "z"], ["logits"]),
        {"projected": {0: batch, 2: height, 3: width}, "z": {0: batch}},
    )


def _write(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    file: Path,
    names: tuple[list[str], list[str]],
    shapes: dict[str, Any],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        torch.onnx.export(
            module.eval(),
            example,
            file,
            input_names=names[0],
            output_names=names[1],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
