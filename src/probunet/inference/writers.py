"""In which form hypotheses and maps are written beside the arrays: PNG, .npz, NIfTI, DICOM Segmentation; one place.

Hypotheses lie in the folder itself, as class ids, so that ``probunet score`` reads the folder of folders; maps of them
lie in the folder ``maps`` beside them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from probunet.core.errors import InputError
from probunet.core.names import safe_name
from probunet.core.packages import require
from probunet.io.pictures import Picture
from probunet.metrics.clusters import Group

if TYPE_CHECKING:
    from probunet.io.dicom_seg import Kind

Format: TypeAlias = Literal["npy", "png", "nifti", "npz", "dicomseg", "dicomlabelmap"]
MAPS, OUTLINES = "maps", ("inner", "outer")


@dataclass(frozen=True)
class Drawn:
    """What a model said about a picture.

    Attributes:
        picture: the input.
        samples: (N, S, H, W) uint8 class ids, possibly on disk.
        probabilities: (S, K, H, W) float32 of these samples, likewise; ``None`` where nobody asked.
        entropy: (S, H, W) float32 in nats, likewise.
        groups: of like samples; empty where nobody asked.
        classes: names, background first.
        model: its class.
        origin: what the samples were drawn with (weights, seed, ...) as text, for formats that name every object.
        facts: further plain data that formats for programs keep.
        outlines: calibrated inner and outer outlines, masks (S, K - 1, H, W), possibly on disk; ``None`` where nobody
            asked.
        risk: of the outlines.
        basis: of the outlines, risk and data in words.
    """

    picture: Picture
    samples: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32] | None
    entropy: npt.NDArray[np.float32] | None
    groups: list[Group]
    classes: list[str]
    model: str
    origin: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    outlines: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None = None
    risk: float = 0.0
    basis: str = ""

    def maps(self, wanted: Collection[str]) -> Iterator[tuple[str, npt.NDArray[Any], float]]:
        """Name, values (S, H, W) and largest possible value of every map that is wanted."""
        if "probabilities" in wanted and self.probabilities is not None:
            for k, name in enumerate(self.classes[1:], start=1):
                yield safe_name(f"probability-{name}"), self.probabilities[:, k], 1.0
        if "entropy" in wanted and self.entropy is not None:
            yield "entropy", self.entropy, float(np.log(len(self.classes)))
        for name, k, mask in self.stated(wanted):
            yield self.name_of(name, k), mask, 1.0

    def stated(self, wanted: Collection[str]) -> Iterator[tuple[str, int, npt.NDArray[np.uint8]]]:
        """Name (inner, outer), class id and mask (S, H, W) of every outline that is wanted."""
        for name, masks in zip(OUTLINES, self.outlines or (), strict=False):
            for k in range(1, len(self.classes) if name in wanted else 0):
                yield name, k, np.asarray(masks[:, k - 1], np.uint8)

    def name_of(self, outline: str, k: int) -> str:
        """Of the file of an outline of a class."""
        return safe_name(f"{outline}-risk-{self.risk:g}-{self.classes[k]}")


def pixel_size(picture: Picture, flat: bool = False) -> tuple[str, float] | None:
    """``mm2`` of a pixel or ``mm3`` of a voxel, where they are known; ``flat``: of a slice of a volume, too, mm2."""
    sides = picture.spacing_mm and picture.spacing_mm[1:] if flat else picture.sides_mm
    return None if sides is None or not all(sides) else (f"mm{len(sides)}", math.prod(sides))


def write_png(folder: Path, drawn: Drawn, wanted: Collection[str]) -> None:
    """Hypotheses as grey levels that are class ids; maps from black to white, of the entropy at log K nats."""
    for i, sample in enumerate(drawn.samples if "samples" in wanted else ()):
        _save(folder, f"sample-{i:03d}", sample)
    for name, values, most in drawn.maps(wanted):
        _save(folder / MAPS, name, (np.asarray(values) / most * 255).round().clip(0, 255).astype(np.uint8))


def _save(folder: Path, name: str, volume: npt.NDArray[np.uint8]) -> None:
    """A picture, or a folder of the slices of a volume."""
    if len(volume) > 1:
        (folder / name).mkdir()
    for s, pixels in enumerate(volume):
        file = folder / (f"{name}.png" if len(volume) == 1 else f"{name}/slice-{s:04d}.png")
        PILImage.fromarray(pixels).save(file, compress_level=1)


def write_npz(folder: Path, drawn: Drawn, wanted: Collection[str]) -> None:
    """One compressed file of all arrays, and of the facts as JSON text; outlines with their risk and data in words."""
    arrays = {"samples": drawn.samples, "probabilities": drawn.probabilities, "entropy": drawn.entropy}
    chosen: dict[str, Any] = {name: array for name, array in arrays.items() if name in wanted and array is not None}
    for name, masks in zip(OUTLINES, drawn.outlines or (), strict=False):
        if name in wanted:
            chosen |= {name: masks, "calibrated": np.array(drawn.basis)}
    if drawn.facts:
        chosen["facts"] = np.array(json.dumps(drawn.facts))
    np.savez_compressed(folder / "hypotheses.npz", allow_pickle=False, **chosen)


def write_nifti(folder: Path, drawn: Drawn, wanted: Collection[str]) -> None:
    """A volume of each hypothesis and each map, in the place, order and dimensions of the input.

    Raises:
        InputError: nibabel is not installed, or the input lies on a grid that NIfTI cannot describe.
    """
    for i, sample in enumerate(drawn.samples if "samples" in wanted else ()):
        drawn.picture.write_nifti(folder / f"sample-{i:03d}.nii.gz", np.asarray(sample))
    for name, values, _ in drawn.maps(wanted):
        drawn.picture.write_nifti(folder / MAPS / f"{name}.nii.gz", np.asarray(values))


def write_dicom(folder: Path, drawn: Drawn, wanted: Collection[str], kind: Kind) -> None:
    """A segmentation of every group's representative, or of every hypothesis, of every outline, and probabilities.

    Outlines say their risk and the data that they were calibrated on in the description of their segment.

    Raises:
        InputError: highdicom is not installed, or the series cannot be referred to.
    """
    from probunet.io.dicom_seg import LONGEST, SERIES_NUMBER, Hypothesis, SegmentationWriter  # take their time to load

    picture, samples = drawn.picture, drawn.samples
    if picture.series is None:
        raise InputError(f"{picture.source} is no DICOM series, to which a DICOM segmentation could refer; use nifti")
    total = len(drawn.groups)
    described = [
        (group.representative, f"group {i} of {total}, frequency {group.frequency:.2f}")
        for i, group in enumerate(drawn.groups, start=1)
    ] or [(i, f"hypothesis {i + 1} of {len(samples)}") for i in range(len(samples))]
    writer = SegmentationWriter(picture.series, drawn.classes, drawn.model, drawn.origin, kind)
    writer.hypotheses(folder, (Hypothesis(np.array(picture.native(samples[i])), words) for i, words in described))
    for i, (name, k, mask) in enumerate(drawn.stated(wanted), start=1):
        words = f"{name} outline, risk {drawn.risk:g}, {drawn.classes[k]}"[:LONGEST]
        meaning = f"{name} outline of {drawn.classes[k]}: {drawn.basis}"
        outline = Hypothesis(np.array(picture.native(mask * np.uint8(k))), words, meaning, k)
        writer.segmentation(folder / MAPS / f"{drawn.name_of(name, k)}.dcm", outline, SERIES_NUMBER - i)
    if "probabilities" in wanted and drawn.probabilities is not None:
        shares = picture.native(np.moveaxis(np.asarray(drawn.probabilities), 1, 0))
        writer.probabilities(folder / MAPS / "probabilities.dcm", np.moveaxis(shares, 0, 1))


def write_nothing(folder: Path, drawn: Drawn, wanted: Collection[str]) -> None:
    """The arrays alone."""


WRITERS: dict[Format, Callable[[Path, Drawn, Collection[str]], None]] = {
    "npy": write_nothing,
    "png": write_png,
    "npz": write_npz,
    "nifti": write_nifti,
    "dicomseg": partial(write_dicom, kind="BINARY"),
    "dicomlabelmap": partial(write_dicom, kind="LABELMAP"),
}
"""By the name of the format; a further format is a further line."""
NEEDED: dict[Format, str] = {"nifti": "nibabel", "dicomseg": "highdicom"}
"""Packages without which a format cannot be written."""


def check_format(format: Format) -> None:
    """Refuse a format whose package is not installed, before any work begins.

    Raises:
        InputError: as said.
    """
    if format in NEEDED:
        require(NEEDED[format], f"--format {format}")
