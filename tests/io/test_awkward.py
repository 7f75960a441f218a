"""Odd real files, each as an independent library reads it, or refused for what it is.

Needs ``awkward_files.tar.xz`` in the folder that PROBUNET_DATA names.
"""

import os
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from small_data import unpacked

from probunet.core.errors import InputError
from probunet.io.pictures import read_file

ARCHIVE = Path(os.environ.get("PROBUNET_DATA", "")) / "awkward_files.tar.xz"
REFUSED = {
    "AxInt36": "is a mosaic",
    "MR.1.3.12": "is a mosaic",
    "fMAP": "holds 2 images at the same places",
    "generic_compressed_jpeg/": "pip install pylibjpeg",
    "bad_sequence": "pip install pylibjpeg",
    "generic_rgb": "is a colour image",
    "CR-MONO1": "ending that is not known",
    "no_meta": "does not begin like a DICOM file",
    "MR_truncated": "declares 8,192 bytes of pixels and can hold 8,130",
    "emri_small": "does not say where they lie",
    "JPEGLSNearLossless": "lacks Modality",
    "JLSL_16": "lacks Modality",
    "not-nifti": "does not begin like a NIfTI file",
    "5D_small": "2-D or 3-D is needed",
    "example": "2-D or 3-D is needed",
}
OTHER_MODALITY = "is no CT, MR or PET image but"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    if not ARCHIVE.is_file():
        pytest.skip("PROBUNET_DATA names no folder with awkward_files.tar.xz")
    folder = unpacked(ARCHIVE, tmp_path_factory.mktemp("awkward"))
    return sorted(f for f in folder.rglob("*") if f.is_file() and f.suffix not in (".md", ".txt"))


def independent(file: Path, picture):
    """Values (slices, rows, columns) in the order of the file, and affine where the library gives one."""
    if ".nii" in file.name:
        image = nibabel.load(file)
        return np.asarray(image.dataobj).T, image.affine
    if file.suffix == ".nrrd":
        import SimpleITK

        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))), None
    return dicom_values(pydicom.dcmread(file), picture), None


def dicom_values(dataset, picture):
    """The frames of a file by where they lie, rescaled by the nearest slope and intercept."""
    stored = dataset.pixel_array.astype(float)
    stored = stored if stored.ndim == 3 else stored[None]
    frames = []
    for one in picture.series.slices:
        groups = [dataset]
        if one.frame is not None:
            shared = dataset.get("SharedFunctionalGroupsSequence") or []
            own = dataset.PerFrameFunctionalGroupsSequence[one.frame], *shared
            groups = [g.PixelValueTransformationSequence[0] for g in own if "PixelValueTransformationSequence" in g]
            groups.append(dataset)
        slope, intercept = (
            next((float(g[k].value) for g in groups if k in g), default)
            for k, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        )
        frames.append(stored[one.frame or 0] * slope + intercept)
    values = np.stack(frames)
    return np.maximum(values, -1024) if picture.unit == "HU" else values


def values_or_refusal(picture):
    """Values in the order of the file, or the sentence with which it is refused."""
    try:
        return picture.native(picture.values()[:, 0]), ""
    except InputError as error:
        return None, str(error)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom about padding and odd headers
def test_each_is_as_another_library_reads_it_or_refused_for_what_it_is(files):
    read = 0
    for file in files:
        expected = next((words for part, words in REFUSED.items() if part in str(file)), None)
        picture = read_file(file)
        values, refusal = values_or_refusal(picture)
        assert (refusal == "") == (expected is None) or OTHER_MODALITY in refusal, file.name
        if refusal:
            assert (expected or OTHER_MODALITY) in refusal
            continue
        theirs, affine = independent(file, picture)
        np.testing.assert_allclose(values, theirs.reshape(values.shape), rtol=1e-6, err_msg=file.name)
        if affine is not None:
            np.testing.assert_allclose(picture.stored.affine, affine, atol=1e-4, err_msg=file.name)
        read += 1
    assert read > 45
