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
from probunet.io.ct_series import make_series, read_headers
from probunet.io.dicom_seg import Hypothesis, SegmentationWriter
from probunet.io.uploads import Picture

Labels = npt.NDArray[np.uint8]
"""(n, H, W) class ids on the whole picture."""


def as_png(labels: Labels, facts: dict[str, Any], picture: Picture) -> bytes:
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


def as_npz(labels: Labels, facts: dict[str, Any], picture: Picture) -> bytes:
    """``labels`` (n, H, W) uint8, ``latents`` (n, D) where there are any, and ``facts`` as JSON text."""
    buffer = io.BytesIO()
    latents = {} if facts.get("latents") is None else {"latents": np.array(facts["latents"], np.float32)}
    np.savez_compressed(buffer, allow_pickle=False, labels=labels, facts=np.array(json.dumps(facts)), **latents)
    return buffer.getvalue()


def as_nifti(labels: Labels, facts: dict[str, Any], picture: Picture) -> bytes:
    """NIfTI (W, H, 1, n), the hypotheses along the fourth axis, pixel size in mm (1 where unknown).

    Raises:
        InputError: nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as error:
        raise InputError("NIfTI needs nibabel; 'pip install nibabel' beside probunet") from error
    row, column = picture.spacing or (1.0, 1.0)
    affine = np.diag([-column, -row, 1.0, 1.0])  # rows run to posterior, columns to left, as in DICOM
    image = nibabel.Nifti1Image(np.moveaxis(labels, 0, -1).swapaxes(0, 1)[:, :, None], affine)
    with tempfile.TemporaryDirectory() as folder:  # nibabel's own compression to a stream leaves no name
        file = Path(folder) / "hypotheses.nii.gz"
        nibabel.save(image, file)
        return file.read_bytes()


def as_dicomseg(labels: Labels, facts: dict[str, Any], picture: Picture) -> bytes:
    """ZIP of DICOM segmentations that refer to the uploaded slice, one series per hypothesis.

    Args:
        labels: (n, H, W).
        facts: classes and name of the model.
        picture: as it was uploaded.

    Raises:
        InputError: the picture was no DICOM file, lacks what a segmentation must refer to, or highdicom is missing.
    """
    if not picture.dicom:
        raise InputError("a DICOM segmentation refers to a DICOM slice, and this picture is none; save PNG or NIfTI")
    archive = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        file = Path(folder) / "slice.dcm"
        file.write_bytes(picture.dicom)
        (slices,) = read_headers([file])[0].values()
        writer = SegmentationWriter(make_series(slices), facts["classes"], facts["model"])
        hypotheses = (Hypothesis(one[None], f"hypothesis {i} of {len(labels)}") for i, one in enumerate(labels, 1))
        for written in writer.hypotheses(Path(folder), hypotheses):
            zipped.write(written, written.name)
    return archive.getvalue()


WRITERS: dict[str, tuple[str, Callable[[Labels, dict[str, Any], Picture], bytes]]] = {
    "png": ("png", as_png),
    "npz": ("npz", as_npz),
    "nifti": ("nii.gz", as_nifti),
    "dicomseg": ("zip", as_dicomseg),
}
"""Ending of the file and its writer, by the name of the format; a further format is a further line."""
