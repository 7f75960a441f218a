"""Chosen hypotheses as files: PNG, .npz, NIfTI, DICOM segmentation."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from probunet.core.errors import InputError
from probunet.explore.cases import Shown
from probunet.io.dicom_seg import Hypothesis, SegmentationWriter

Labels = npt.NDArray[np.uint8]
"""(n, H, W) class ids on the whole picture."""


def as_png(labels: Labels, facts: dict[str, Any], picture: Shown) -> bytes:
    """One hypothesis as PNG of class ids spread over the grey range; several as a ZIP of such, with facts.json."""
    grey = 255 // max(len(facts["classes"]) - 1, 1)
    pictures = []
    for hypothesis in labels:
        buffer = io.BytesIO()
        PILImage.fromarray(hypothesis * np.uint8(grey)).save(buffer, format="PNG")
        pictures.append(buffer.getvalue())
    if len(pictures) == 1:
        return pictures[0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for i, content in enumerate(pictures):
            file.writestr(f"hypothesis-{i:03d}.png", content)
        file.writestr("facts.json", json.dumps(facts, indent=2) + "\n")
    return archive.getvalue()


def as_npz(labels: Labels, facts: dict[str, Any], picture: Shown) -> bytes:
    """``labels`` (n, H, W) uint8, ``latents`` (n, D) where there are any, and ``facts`` as JSON text."""
    buffer = io.BytesIO()
    latents = {} if facts.get("latents") is None else {"latents": np.array(facts["latents"], np.float32)}
    np.savez_compressed(buffer, allow_pickle=False, labels=labels, facts=np.array(json.dumps(facts)), **latents)
    return buffer.getvalue()


def as_nifti(labels: Labels, facts: dict[str, Any], picture: Shown) -> bytes:
    """NIfTI (W, H, 1, n), the hypotheses along the fourth axis, where the picture lies.

    Raises:
        InputError: nibabel is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hypotheses.nii.gz"
        picture.picture.write_nifti(file, labels[:, None])
        return file.read_bytes()


def as_dicomseg(labels: Labels, facts: dict[str, Any], picture: Shown) -> bytes:
    """ZIP of DICOM segmentations that refer to the uploaded slice, one series per hypothesis.

    Args:
        labels: (n, H, W).
        facts: classes and name of the model.
        picture: as it was uploaded.

    Raises:
        InputError: the picture was no DICOM file, lacks what a segmentation must refer to, or highdicom is missing.
    """
    series = picture.picture.series
    if series is None:
        raise InputError("a DICOM segmentation refers to a DICOM slice, and this picture is none; save PNG or NIfTI")
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        writer = SegmentationWriter(series, facts["classes"], facts["model"])
        native = picture.picture.native(labels[:, None])
        hypotheses = (Hypothesis(one, f"hypothesis {i} of {len(labels)}") for i, one in enumerate(native, 1))
        for written in writer.hypotheses(Path(folder), hypotheses):
            zipped.write(written, written.name)
    return archive.getvalue()


WRITERS: dict[str, tuple[str, Callable[[Labels, dict[str, Any], Shown], bytes]]] = {
    "png": ("png", as_png),
    "npz": ("npz", as_npz),
    "nifti": ("nii.gz", as_nifti),
    "dicomseg": ("zip", as_dicomseg),
}
"""Ending of the file and its writer, by the name of the format; a further format is a further line."""
