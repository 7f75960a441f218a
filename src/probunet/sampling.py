"""Hypotheses for an image file: PNG and .npy in, PNG and .npy out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from probunet.errors import InputError
from probunet.files import writing_folder
from probunet.progress import console
from probunet.run import runs_in


def sample(run: Path, image: Path, out: Path, n: int = 16, seed: int = 0, device: str = "cpu") -> None:
    """Draw plausible segmentations of one image.

    Writes samples.npy (n, H, W) uint8 class ids, probabilities.npy (K, H, W) float32, and PNG pictures: every
    hypothesis (class ids spread over the grey range), the probability of each class, and contact_sheet.png.

    Args:
        run: run directory of a trained model.
        image: .png (grey, or with as many channels as the model takes) or .npy (H, W) or (C, H, W), in the raw
            values of the training data (grey levels, HU).
        out: folder to make.
        n: how many hypotheses.
        seed: of the samples; the same seed gives the same files.
        device: where the model runs: cpu, cuda, cuda:1, ...

    Raises:
        InputError: no model, or an image that cannot be read or does not fit it.
    """
    runs = runs_in(run)
    if len(runs) > 1:
        raise InputError(f"{run} holds several models; name one of {', '.join(str(r.path) for r in runs)}")
    if n < 1:
        raise InputError(f"the number of hypotheses must be at least 1, got {n}")
    model = runs[0].model(device)
    raw = read_image(image)
    batch = torch.from_numpy(runs[0].intensity.normalise(raw))[None].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.inference_mode():
        try:
            distribution = model(batch)
        except InputError as error:
            raise InputError(f"{image}: {error}") from error
        samples = distribution.sample(n, generator)[:, 0].to(torch.uint8).cpu().numpy()
        probabilities = distribution.probabilities(max(n, 64), generator)[0].float().cpu().numpy()
    with writing_folder(out) as folder:
        np.save(folder / "samples.npy", samples)
        np.save(folder / "probabilities.npy", probabilities)
        _write_pictures(folder, raw, samples, probabilities, runs[0].classes)
    distinct = len(np.unique(samples.reshape(n, -1), axis=0))
    console.print(f"{n} hypotheses of {image} ({distinct} different ones) are in {out}")


def read_image(file: Path) -> npt.NDArray[Any]:
    """Read raw values from a PNG or .npy file.

    Returns:
        (C, H, W).

    Raises:
        InputError: unreadable, truncated, of an unknown kind or shape, or not finite.
    """
    try:
        if file.suffix == ".npy":
            array = np.load(file, allow_pickle=False)
        else:
            with PILImage.open(file, formats=["PNG"]) as picture:
                array = np.asarray(picture.convert("RGB") if picture.mode in ("P", "RGBA") else picture)
            array = np.moveaxis(array, -1, 0) if array.ndim == 3 else array
    except FileNotFoundError as error:
        raise InputError(f"{file} does not exist") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{file} cannot be read as PNG or .npy ({error})") from error
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.dtype.kind not in "uif":
        raise InputError(
            f"{file} holds {array.dtype} values of shape {array.shape}; numbers of shape (H, W) or (C, H, W) are needed"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{file} holds values that are NaN or infinite; clean the image first")
    return array


def _write_pictures(
    folder: Path,
    raw: npt.NDArray[Any],
    samples: npt.NDArray[np.uint8],
    probabilities: npt.NDArray[np.float32],
    classes: list[str],
) -> None:
    grey = 255 // max(len(classes) - 1, 1)
    for i, hypothesis in enumerate(samples):
        PILImage.fromarray(hypothesis * np.uint8(grey)).save(folder / f"sample-{i:03d}.png")
    for k, name in enumerate(classes):
        if k:
            picture = (probabilities[k] * 255).round().astype(np.uint8)
            PILImage.fromarray(picture).save(folder / f"probability-{name}.png")
    from probunet.report.panels import contact_sheet  # matplotlib takes a second to load

    contact_sheet(folder / "contact_sheet.png", raw, samples, probabilities)
