"""In which form ``probunet sample`` writes hypotheses beside the arrays: PNG, .npz, NIfTI, DICOM Segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from probunet.core.errors import InputError
from probunet.io.pictures import Picture
from probunet.metrics.clusters import Mode

Format: TypeAlias = Literal["png", "nifti", "npz", "dicomseg"]


@dataclass(frozen=True)
class Drawn:
    """What a model said about a picture.

    Attributes:
        picture: the input.
        samples: (N, S, H, W) uint8 class ids, possibly on disk.
        probabilities: (S, K, H, W) float32, likewise.
        modes: of the samples.
        classes: names, background first.
        model: its class.
    """

    picture: Picture
    samples: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]
    modes: list[Mode]
    classes: list[str]
    model: str

    def pixel_size(self) -> tuple[str, float] | None:
        """``mm2`` of a pixel or ``mm3`` of a voxel, where they are known."""
        if self.picture.spacing_mm is None:
            return None
        between, row, column = self.picture.spacing_mm
        if self.picture.shape[0] == 1:
            return "mm2", row * column
        return None if between is None else ("mm3", row * column * between)


def write_png(folder: Path, drawn: Drawn) -> None:
    """Class ids spread over the grey range, the probability of each class, and the entropy (white: log K nats)."""
    grey = np.uint8(255 // max(len(drawn.classes) - 1, 1))
    depth = len(drawn.probabilities)
    for s in range(depth):
        for i, hypothesis in enumerate(drawn.samples[:, s]):
            _save(_place(folder, f"sample-{i:03d}", s, depth), hypothesis * grey)
        for k, name in enumerate(drawn.classes):
            if k:
                _save(_place(folder, f"probability-{name}", s, depth), _grey(drawn.probabilities[s, k]))
        entropy = np.load(folder / "entropy.npy", mmap_mode="r")[s]
        _save(_place(folder, "entropy", s, depth), _grey(entropy / np.log(len(drawn.classes))))


def _place(folder: Path, name: str, index: int, depth: int) -> Path:
    return folder / f"{name}.png" if depth == 1 else folder / name / f"slice-{index:04d}.png"


def _grey(shares: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    return (shares.clip(0, 1) * 255).round().astype(np.uint8)


def _save(file: Path, pixels: npt.NDArray[np.uint8]) -> None:
    file.parent.mkdir(exist_ok=True)
    PILImage.fromarray(pixels).save(file)


def write_npz(folder: Path, drawn: Drawn) -> None:
    """One compressed file of all arrays."""
    entropy = np.load(folder / "entropy.npy", mmap_mode="r")
    np.savez_compressed(
        folder / "hypotheses.npz", samples=drawn.samples, probabilities=drawn.probabilities, entropy=entropy
    )


def write_nifti(folder: Path, drawn: Drawn) -> None:
    """One volume of each hypothesis, each class's probability and the entropy, in the place of the input.

    Raises:
        InputError: nibabel is not installed, or slices in uneven steps.
    """

    def write(name: str, volume: npt.NDArray[Any]) -> None:
        drawn.picture.write_nifti(folder / f"{name}.nii.gz", volume)

    for i, sample in enumerate(drawn.samples):
        write(f"sample-{i:03d}", sample)
    for k, name in enumerate(drawn.classes):
        if k:
            write(f"probability-{name}", drawn.probabilities[:, k])
    write("entropy", np.load(folder / "entropy.npy", mmap_mode="r"))


def write_dicomseg(folder: Path, drawn: Drawn) -> None:
    """A binary segmentation of every mode's representative with its frequency, and one of the probabilities.

    Raises:
        InputError: highdicom is not installed, or the series cannot be referred to.
    """
    from probunet.io.dicom_seg import Hypothesis, SegmentationWriter

    assert drawn.picture.series is not None
    writer = SegmentationWriter(drawn.picture.series, drawn.classes, drawn.model)
    total = len(drawn.modes)
    writer.hypotheses(
        folder,
        (
            Hypothesis(
                np.array(drawn.picture.native(drawn.samples[mode.representative])),
                f"mode {i} of {total}, frequency {mode.frequency:.2f}",
            )
            for i, mode in enumerate(drawn.modes, start=1)
        ),
    )
    shares = drawn.picture.native(np.moveaxis(drawn.probabilities, 1, 0))
    writer.probabilities(folder / "probabilities.dcm", np.moveaxis(shares, 0, 1))


def _anything(_: Sequence[Picture]) -> None:
    return None


def _only_dicom(pictures: Sequence[Picture]) -> None:
    if other := next((one for one in pictures if one.series is None), None):
        raise InputError(f"{other.source} is no DICOM series, to which a DICOM segmentation could refer; use nifti")


@dataclass(frozen=True)
class FormatWriter:
    """How a format is written, and which inputs it refuses."""

    write: Callable[[Path, Drawn], None]
    check: Callable[[Sequence[Picture]], None] = _anything


FORMATS: dict[Format, FormatWriter] = {
    "png": FormatWriter(write_png),
    "npz": FormatWriter(write_npz),
    "nifti": FormatWriter(write_nifti),
    "dicomseg": FormatWriter(write_dicomseg, _only_dicom),
}
