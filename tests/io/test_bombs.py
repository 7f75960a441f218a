"""Small files that become large: what is decoded is bounded by what the header declares, whatever follows."""

import gzip
import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
from lidc_download import ct_slice, save
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from probunet.core.errors import InputError
from probunet.io.pictures import read_file

ZEROS = bytes(1 << 20)
MANY = 160
"""MiB of zeros in every bomb."""
MOST = 64 << 20
"""Bytes that may be taken for a picture of a few voxels; the files hold more than twice as much."""


def zeros_behind(start):
    """Bytes and zeros behind them, deflated: the same block again and again, which takes no time."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(ZEROS) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + block * MANY + packer.flush()


def as_gzip(start):
    """The same as a gzip file."""
    ends = struct.pack("<II", zlib.crc32(ZEROS * MANY, zlib.crc32(start)), len(start) + MANY * len(ZEROS))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + zeros_behind(start) + ends


def as_zlib(start):
    """The same as a zlib stream, whose checksum nobody comes to."""
    return b"\x78\x01" + zeros_behind(start) + bytes(4)


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
    (tmp_path / "a.nii.gz").write_bytes(as_gzip(image.to_bytes()))
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == len(image.to_bytes()) + MANY * len(ZEROS)
    assert (tmp_path / "a.nii.gz").stat().st_size < 2 << 20
    values, memory = reading(tmp_path / "a.nii.gz")
    assert isinstance(values, str) or (values == 1).all()
    assert memory < MOST


@pytest.mark.parametrize("said", [64, 1 << 40])
def test_a_compressed_array_larger_or_smaller_than_its_header_takes_no_memory(tmp_path, said):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (1, said // 8, 8)})
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("image.npy", "w") as file,
    ):
        file.write(head.getvalue())
        for _ in range(MANY):
            file.write(ZEROS)
    result, memory = reading(tmp_path / "a.npz")
    assert isinstance(result, str)
    assert "a.npz has more bytes" in result or "a.npz declares" in result or "pixels are read" in result
    assert memory < MOST


SERIES = "1.2.3"


def enhanced(folder, name, syntax, stream, frames, **changes):
    """Frames of one compressed stream, each a slice with its place."""
    dataset = ct_slice(SERIES, 0, (0, 0, 0), NumberOfFrames=frames, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    groups = []
    for frame in range(frames):
        groups.append(pydicom.Dataset())
        groups[-1].PlanePositionSequence = [pydicom.Dataset()]
        groups[-1].PlanePositionSequence[0].ImagePositionPatient = [0, 0, frame]
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = pydicom.encaps.encapsulate([stream] * frames)
    save(dataset, folder / f"{name}.dcm")


def single(folder, name, syntax, stream, **changes):
    """A slice of one compressed stream, or of bytes as they are."""
    dataset = ct_slice(SERIES, 0, (0, 0, 0), **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([stream])
    save(dataset, folder / f"{name}.dcm")


def encoded(kind, side, **options):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint16 if kind == "JPEG2000" else np.uint8)).save(stream, kind, **options)
    return bytearray(stream.getvalue())


def wavelets(folder):
    """Three hundred frames, of which all take 0.6 GB; a stream whose header was changed to 48 times the pixels."""
    stream = encoded("JPEG2000", 1024)
    enhanced(folder, "frames", JPEG2000Lossless, bytes(stream), 300, Rows=1024, Columns=1024)
    for name, start in (("wavelets", stream.find(b"\xff\x4f\xff\x51")), ("wavelets-alone", 0)):
        large = stream[stream.find(b"\xff\x4f\xff\x51") :] if start == 0 else bytearray(stream)
        struct.pack_into(">II", large, start + 8, 1 << 15, 1 << 15)
        single(folder, name, JPEG2000Lossless, bytes(large))
    many = stream[stream.find(b"\xff\x4f\xff\x51") :]
    sizes = struct.pack(">IIIIIIII", 48, 48, 0, 0, 48, 48, 0, 0)
    parts = struct.pack(">H", 16384) + b"\x0f\x01\x01" * 16384
    head = many[:4] + struct.pack(">HH", 38 + 3 * 16384, 0) + sizes + parts
    single(folder, "channels", JPEG2000Lossless, bytes(head + many[45:]))
    tiles = many[:45]
    struct.pack_into(">IIIIII", tiles, 8, 1024, 1024, 0, 0, 1, 1)
    single(folder, "tiles", JPEG2000Lossless, bytes(tiles + many[45:]), Rows=1024, Columns=1024)


def jpegs(folder):
    for name, kind, syntax in (("jpeg", b"\xc0", JPEGBaseline8Bit), ("jpeg-ls", b"\xf7", JPEGLSLossless)):
        stream = encoded("JPEG", 48)
        start = stream.find(b"\xff\xc0")
        stream[start + 1 : start + 2] = kind
        struct.pack_into(">HH", stream, start + 5, 60_000, 60_000)
        single(folder, name, syntax, bytes(stream), BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)


def runs(folder):
    """Segments that run on and on, and fifteen of them where two are needed."""
    run = b"\x81\0" * (1 << 20)
    for name, offsets in (("runs", [64, 64 + len(run)]), ("segments", [64] * 15)):
        head = struct.pack("<16I", len(offsets), *offsets, *[0] * (15 - len(offsets)))
        single(folder, name, RLELossless, head + run * 2)


def deflated(folder):
    """A slice with 160 MiB of zeros behind it, and one whose pixels are that."""
    dataset = ct_slice(SERIES, 0, (0, 0, 0))
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset)
    plain = file.getvalue()
    body = plain[plain.find(b"\x08\0\x16\0UI") :]
    pixels = body.find(b"\xe0\x7f\x10\0OW")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    head = file.getvalue()
    length = struct.unpack("<I", head[140:144])[0]
    for name, start in (("behind", body), ("pixels", body[: pixels + 8] + struct.pack("<I", MANY << 20))):
        (folder / f"deflated-{name}.dcm").write_bytes(head[: 144 + length] + zeros_behind(start))


def rasters(folder):
    """A PNG of 60,000 x 60,000 px, and one of 100 x 100 px with 160 MiB of zeros in it."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    for name, side, content in (("declared", 60_000, zlib.compress(b"")), ("stream", 100, as_zlib(b""))):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", content) + chunk(b"IEND", b"")
        (folder / f"{name}.png").write_bytes(png)


def volumes(folder):
    """NRRD and MetaImage whose compressed voxels are 160 MiB longer than they say."""
    nrrd = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: gzip\n\n"
    (folder / "a.nrrd").write_bytes(nrrd + as_gzip(b""))
    packed = as_zlib(b"")
    lines = "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\n"
    lines += f"CompressedDataSize = {len(packed)}\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (folder / "a.mha").write_bytes(lines.encode() + packed)
    plain = lines.replace("CompressedData = True", "CompressedData = False")
    (folder / "plain.mha").write_bytes(plain.encode() + bytes(64))


READ = """
import sys
from pathlib import Path
from probunet.core.errors import InputError
from probunet.io.pictures import read_file
from probunet.io.uploads import read_upload

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) >> 10

def opened(file):
    read_file(file).slice(0)

def uploaded(file):
    read_upload(file.name, file.read_bytes())

def read(how, file):
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted from now on
    before = status("VmRSS")
    try:
        how(file)
        result = "read"
    except InputError as error:
        result = f"refused: {error}"
    return status("VmHWM") - before, result

files = sorted(Path(sys.argv[1]).iterdir())
for name in ("plain.dcm", "plain.mha"):
    opened(files[0].with_name(name))  # all libraries are loaded now
for file in files:
    for how in (opened, uploaded):
        print(file.name, how.__name__, *read(how, file), sep="\\t")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux does")
def test_no_bomb_takes_memory_as_a_file_or_as_an_upload(tmp_path):
    """Measured in a process of its own, in MiB above what it had before; every bomb would take 150 and more."""
    save(ct_slice(SERIES, 0, (0, 0, 0)), tmp_path / "plain.dcm")
    for make in (wavelets, jpegs, runs, deflated, rasters, volumes):
        make(tmp_path)
    command = [sys.executable, "-c", READ, str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    results = {tuple(line.split("\t")[:2]): line.split("\t")[2:] for line in lines}
    assert {key: memory for key, (memory, _) in results.items() if int(memory) > 64} == {}
    read = {name for (name, how), (_, result) in results.items() if result == "read" and how == "opened"}
    assert read <= {"plain.dcm", "plain.mha", "frames.dcm", "stream.png", "a.nrrd", "a.mha"}
    assert {"plain.dcm", "plain.mha", "frames.dcm"} <= read
