"""``probunet sample``: hypotheses for images of any kind, with their probabilities, modes and place in space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.console import console, progress_bar
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.files import remove_remains, writing_folder
from probunet.core.shards import read_shard
from probunet.inference.predictor import Request, Sampler
from probunet.inference.writers import FORMATS, Format
from probunet.io.pictures import find_pictures
from probunet.runs.trained import open_model


def sample(
    model: Path,
    inputs: list[Path],
    /,
    out: Path,
    n: int = 16,
    seed: int = 0,
    format: Format = "png",
    z: str | None = None,
    at: list[int] | None = None,
    mode_distance: float = 0.5,
    device: str = "auto",
    shard: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Draw plausible segmentations of images and volumes.

    Makes a folder for every image in OUT: samples.npy (n, slices, H, W) class ids, probabilities.npy (slices, K, H, W),
    entropy.npy (slices, H, W) in nats, summary.json with the modes (groups of like hypotheses: frequency, area or
    volume, log-likelihood), contact_sheet.png, and the hypotheses in the format that was asked for. What is there
    already is kept, so that the same command goes on where it was stopped.

    Args:
        model: run directory of a trained model, or an exported folder.
        inputs: PNG, TIFF, .npy, NIfTI, NRRD, MetaImage or DICOM files, or folders of them, in the raw values of the
            training data (grey levels, HU). Slices of a volume share the random part of each hypothesis.
        out: folder of the results.
        n: how many hypotheses.
        seed: of the samples; the same seed gives the same files.
        format: png, nifti, npz, or dicomseg for DICOM input.
        z: latents to decode in place of draws: a .npy file (n, D), or numbers separated by commas.
        at: row and column, in pixels: only a field of the training size around this place is looked at.
        mode_distance: average 1 - IoU from which on hypotheses belong to different modes.
        device: where the model runs: auto (a GPU, where there is one), cpu, cuda, cuda:N or mps
        shard: this process's share of the images, i/n with i from 0 to n - 1, or auto: as torchrun or srun say.
            Shards need not know of each other: every image has a folder and a seed of its own.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: no model, an image that cannot be read or does not fit it, or no such shard.

    Examples:
        probunet sample runs/demo/probabilistic_unet crop.png -n 16 --out hypotheses
        probunet sample runs/lidc/probabilistic_unet ct/ --format dicomseg --out hypotheses
        probunet sample runs/lidc/probabilistic_unet slice.dcm --at 310 140 --out hypotheses
        probunet sample runs/demo/probabilistic_unet crop.png --z 0,0,1.5,0,0,0 --out one
        probunet sample runs/lidc/probabilistic_unet archive/ --shard 0/4 --out hypotheses
    """
    trained = open_model(model, trust or ())
    if n < 1:
        raise InputError(f"the number of hypotheses must be at least 1, got {n}")
    if not 0 < mode_distance <= 1:
        raise InputError(f"mode_distance={mode_distance} is no distance; give above 0 and up to 1")
    if at is not None and len(at) != 2:
        raise InputError(f"--at needs a row and a column, got {at}")
    latents = None if z is None else read_latents(z)
    place = None if at is None else (at[0], at[1])
    request = Request(n if latents is None else len(latents), seed, latents, place, mode_distance, format)
    share = read_shard(shard)
    everything = find_pictures(inputs)
    FORMATS[format].check(everything)
    pictures = share.of(everything)
    sampler = Sampler(trained, share.device(chosen_device(device)))
    kept = 0
    with progress_bar() as bar:
        task = bar.add_task("sampling", total=sum(picture.shape[0] for picture in pictures))
        for picture in pictures:
            folder = out / picture.name
            if sampler.is_done(folder, picture, request):
                kept += 1
            else:
                remove_remains(folder)
                with writing_folder(folder) as temporary:
                    sampler.write(temporary, picture, request, lambda: bar.advance(task))
            bar.update(task, completed=sum(p.shape[0] for p in pictures[: pictures.index(picture) + 1]))
    done = f"{len(pictures)} image{'' if len(pictures) == 1 else 's'} in {out}"
    console.print(f"{request.n} hypotheses of {done}" + (f", {kept} of them were there already" if kept else ""))


def read_latents(text: str) -> npt.NDArray[np.float32]:
    """Read latents from a .npy file (n, D) or (D,), or from numbers separated by commas.

    Raises:
        InputError: neither, or not finite.
    """
    try:
        if text.endswith(".npy"):
            z = np.atleast_2d(np.load(text, allow_pickle=False)).astype(np.float32)
        else:
            z = np.array([[float(number) for number in text.split(",")]], np.float32)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--z {text} is neither a .npy file of latents nor numbers such as 0.5,-1,0 ({error})"
        ) from error
    if z.ndim != 2 or not len(z) or not np.isfinite(z).all():
        raise InputError(f"--z {text} holds values of shape {z.shape}; finite ones of shape (n, D) are needed")
    return z
