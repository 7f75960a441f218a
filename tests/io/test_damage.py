"""Any bytes changed, added or cut off in a file of any format: it is read, or one sentence names it.

``PROBUNET_FUZZ=200000 pytest tests/io/test_damage.py`` runs longer.
"""

import gzip
import io
import os
import zlib

import nibabel
import numpy as np
import pytest
import SimpleITK
from lidc_download import ct_slice, save, uid
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

from probunet.core.errors import InputError
from probunet.io.pictures import read_file
from probunet.io.uploads import read_upload

ROUNDS = int(os.environ.get("PROBUNET_FUZZ", "2400"))
HEAD = 700


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    values = np.random.default_rng(0).integers(0, 99, (3, 5, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1, -1, 2, 1])), folder / "a.nii")
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1, -1, 2, 1])), folder / "a.nii.gz")
    nibabel.save(nibabel.Nifti2Image(values, np.eye(4)), folder / "two.nii")
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(folder / name))
    for name in ("a.png", "a.tif", "a.jpg"):
        Image.fromarray(values[0].astype(np.uint8)).save(folder / name)
    np.save(folder / "a.npy", values)
    np.savez_compressed(folder / "a.npz", values)
    save(ct_slice(uid(1), 0, (0, 0, 0)), folder / "a.dcm")
    runs = ct_slice(uid(1), 0, (0, 0, 0))
    runs.compress(RLELossless, generate_instance_uid=False)
    save(runs, folder / "rle.dcm")
    stream = io.BytesIO()
    Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48)).save(stream, "JPEG2000")
    wavelets = ct_slice(uid(1), 0, (0, 0, 0), PixelRepresentation=0)
    wavelets.file_meta.TransferSyntaxUID = JPEG2000Lossless
    wavelets.PixelData = encapsulate([stream.getvalue()])
    save(wavelets, folder / "j2k.dcm")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def refusal(name, content):
    """The sentence with which a file is refused, or ``None``."""
    try:
        assert read_upload(name, content).slice(0).dtype.kind in "uif"
    except InputError as error:
        return str(error)
    return None


def test_mutated_files_are_read_or_refused_in_one_sentence(files):
    rng = np.random.default_rng(int(os.environ.get("PROBUNET_FUZZ_SEED", "1")))
    refused = 0
    for number in range(ROUNDS):
        name = list(files)[number % len(files)]
        content = bytearray(files[name])
        for _ in range(rng.integers(0, 5)):
            content[rng.integers(min(len(content), HEAD))] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        if rng.random() < 0.3:
            content = content[: rng.integers(len(content))]
        if rng.random() < 0.1:
            content += bytes(rng.integers(256, size=50).astype(np.uint8))
        sentence = refusal(name, bytes(content))
        refused += bool(sentence)
        assert sentence is None or (name in sentence and "\n" not in sentence and len(sentence) < 500)
    assert 0.2 * ROUNDS < refused < ROUNDS


def test_an_untouched_file_of_each_kind_is_read(files):
    for name, content in files.items():
        assert read_upload(name, content).slice(0).size, name


def test_headers_of_packed_files_are_mutated_below_the_packing(files):
    """Bytes inside of gzip, whose checksum would hide them otherwise."""
    raw = gzip.decompress(files["a.nii.gz"])
    rng = np.random.default_rng(2)
    for _ in range(300):
        content = bytearray(raw)
        for _ in range(rng.integers(1, 4)):
            content[rng.integers(352)] = rng.integers(256)
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
            file.write(content)
        assert "a.nii.gz" in (refusal("a.nii.gz", buffer.getvalue()) or "a.nii.gz")


_META = "ObjectType = Image\nNDims = 3\nBinaryData = True\n{}DimSize = {}\nElementType = MET_UCHAR\n"
_META += "ElementDataFile = LOCAL\n"


PACKED = "CompressedData = True\nCompressedDataSize = {}\n"
ZEROS = zlib.compress(bytes(64))


@pytest.mark.parametrize(
    ("compressed", "size", "voxels", "reason"),
    [
        ("", "4 4 4", bytes(10), "data not read completely"),
        ("", "4 4", bytes(64), "ElementType required and not defined"),
        (PACKED.format(64), "4 4 4", b"x" * 64, "incorrect header check"),
        (PACKED.format(len(ZEROS)), "4 4 4", ZEROS[:-4] + b"none", "Uncompress failed|incorrect data check"),
    ],
)
def test_what_metaio_prints_is_the_reason_and_not_on_the_screen(tmp_path, capfd, compressed, size, voxels, reason):
    """Where it cannot uncompress it prints so, and gives whatever lay in memory."""
    pytest.importorskip("SimpleITK")
    (tmp_path / "a.mha").write_bytes(_META.format(compressed, size).encode() + voxels)
    with pytest.raises(InputError, match=rf"a\.mha cannot be read as MetaImage \(.*({reason})"):
        read_file(tmp_path / "a.mha").slice(0)
    assert capfd.readouterr().err == ""
    (tmp_path / "a.mha").write_bytes(_META.format("", "4 4 4").encode() + bytes(range(64)))
    assert read_file(tmp_path / "a.mha").values().ravel().tolist() == list(range(64))


@pytest.mark.parametrize("voxels", [zlib.compress(bytes(range(64)))[:30], zlib.compress(bytes(range(20)))])
def test_compressed_voxels_that_are_not_there_are_not_made_up(tmp_path, voxels):
    (tmp_path / "a.mha").write_bytes(_META.format(PACKED.format(len(voxels)), "4 4 4").encode() + voxels)
    with pytest.raises(InputError, match=r"a\.mha ends \d+ bytes before its last voxel"):
        read_file(tmp_path / "a.mha").slice(0)
