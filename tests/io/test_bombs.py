"""Small files that become large: what is decoded is bounded by what the header declares, whatever follows."""

import gzip
import io
import tracemalloc
import zipfile

import nibabel
import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.io.pictures import read_file

ZEROS = bytes(1 << 20)
MOST = 64 << 20
"""Bytes that may be taken for a picture of a few voxels; the files hold four times as much."""


def reading(file):
    """Read a picture; give its values, or the sentence of its refusal, and the largest memory that was taken."""
    tracemalloc.start()
    try:
        return read_file(file).values(), tracemalloc.get_traced_memory()[1]
    except InputError as error:
        return str(error), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_zeros_behind_the_last_voxel_of_a_compressed_nifti_take_no_memory(tmp_path):
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4))
    with gzip.open(tmp_path / "a.nii.gz", "wb", compresslevel=1) as file:
        file.write(image.to_bytes())
        for _ in range(256):
            file.write(ZEROS)
    assert (tmp_path / "a.nii.gz").stat().st_size < 2 << 20
    values, memory = reading(tmp_path / "a.nii.gz")
    assert isinstance(values, str) or (values == 1).all()
    assert memory < MOST


@pytest.mark.parametrize("said", [64, 1 << 40])
def test_a_compressed_array_larger_or_smaller_than_its_header_takes_no_memory(tmp_path, said):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1, said // 8, 8)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("image.npy", "w") as file,
    ):
        file.write(head.getvalue())
        for _ in range(256):
            file.write(ZEROS)
    result, memory = reading(tmp_path / "a.npz")
    assert isinstance(result, str)
    assert "a.npz has more bytes" in result or "a.npz declares" in result or "pixels are read" in result
    assert memory < MOST
