"""``probunet export``: a trained model to pass on, as a folder for probunet or as two ONNX graphs for anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from probunet.core.console import console
from probunet.core.descriptions import write_json
from probunet.core.errors import InputError
from probunet.core.writing import writing_folder
from probunet.runs.exported import facts_of, save_run
from probunet.runs.guest import Guest
from probunet.runs.model_card import CARD, model_card
from probunet.runs.onnx_graphs import write_onnx
from probunet.runs.run import Run
from probunet.runs.trained import open_model

USE = (
    "`encode.onnx` turns images (B, C, H, W) into features (B, F, H, W) and the prior's mean and log sigma (B, D), "
    "`decode.onnx` features and z (B, D) into logits (B, K, H, W); z is mean + sigma times standard normal numbers."
)
"""What the card of a folder of graphs says of their use."""


def export(
    model: Path,
    /,
    out: Path,
    format: Literal["folder", "onnx"] = "folder",
    licence: str = "not given",
    trust: list[str] | None = None,
) -> None:
    """Write a trained model as a folder that probunet loads, or as ONNX graphs.

    ONNX: encode.onnx turns images (B, C, H, W) into features (B, F, H, W) and the prior's mean and log sigma (B, D),
    decode.onnx features and z (B, D) into logits (B, K, H, W), for any batch and any size from 16 px. Both were run
    beside PyTorch; probunet.json tells the largest difference, and everything about the input.

    Args:
        model: run directory, or (for ONNX) an exported folder or hub:owner/model.
        out: folder to make.
        format: folder or onnx.
        licence: of the weights, as text.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: no model, one that cannot be split into two graphs, or the folder exists already.

    Examples:
        probunet export runs/demo/probabilistic_unet --out demo_model --licence 'CC BY 4.0'
        probunet export runs/demo/probabilistic_unet --out demo_onnx --format onnx
    """
    trained = open_model(model, trust or ())
    trained = trained.elsewhere if isinstance(trained, Guest) else trained
    if format == "onnx":
        with writing_folder(out) as folder:
            difference = write_onnx(trained.model(), folder)
            facts = {key: trained.settings[key] for key in ("model", "input")}
            write_json(folder / "probunet.json", facts | {"licence": licence, "difference_from_pytorch": difference})
            described = facts_of(trained) | facts | {"licence": licence}
            (folder / CARD).write_text(model_card(described, out.name, USE), encoding="utf-8")
    elif isinstance(trained, Run):
        save_run(trained, out, licence)
    else:
        raise InputError(f"{trained.path} is an exported folder already; copy it, or choose --format onnx")
    console.print(f"{model} is exported to {out}")
