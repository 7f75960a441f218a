"""LIDC-IDRI as others prepared and passed it on: four forms, told apart by their content."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

from probunet.core.errors import InputError
from probunet.core.files import regular_file
from probunet.data.lidc_crops import png_crops, slices
from probunet.data.lidc_crops.hdf5 import prepare_hdf5
from probunet.data.lidc_crops.pickle import prepare_pickle
from probunet.data.splits import FRACTIONS
from probunet.data.store import Store
from probunet.io.archives import read_pngs

FORMS = (
    f"PNG crops named {png_crops.LAYOUT} with gt beside images; PNG crops named {slices.LAYOUT} (LIDC-IDRI-slices); "
    "data_lidc.pickle; data_lidc.hdf5"
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLE = (b"\x80", b"(", b"}")  # a protocol number, or a dict by protocol 0 or 1


def prepare_import(
    source: Path,
    /,
    out: Path,
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    spacing: float | None = None,
    size: int | None = None,
) -> Store:
    """Prepare LIDC-IDRI crops that others made: 180x180 PNG crops, LIDC-IDRI-slices, data_lidc.pickle or its HDF5.

    Which of them it is shows in the content. Splits keep patients together; where a file does not say which
    patient a slice is of, the series, and that is said. No code in a file is run.

    The arguments are those of the command ``probunet prepare import``.

    Raises:
        InputError: the source is none of these, unreadable or damaged, or ``out`` cannot be written.
    """
    kind = recognise(source)
    if kind == "slices":
        return slices.prepare_slices(source, out, fractions or FRACTIONS, seed, spacing, size)
    if spacing is not None or size is not None:
        raise InputError(
            f"{source} is not in the LIDC-IDRI-slices layout, the only one that can be resampled; "
            "leave out --spacing and --size"
        )
    prepare = {"pickle": prepare_pickle, "hdf5": prepare_hdf5, "crops": png_crops.prepare_crops}[kind]
    return prepare(source, out, fractions, seed)


def recognise(source: Path) -> str:
    """Tell which form it is: ``hdf5``, ``pickle``, ``crops`` or ``slices``.

    Raises:
        InputError: none of them, not there, or unreadable.
    """
    if not source.exists():
        state = "is a broken link; repair it" if source.is_symlink() else "does not exist"
        raise InputError(f"{source} {state}")
    if not source.is_dir():
        regular_file(source)
        try:
            with source.open("rb") as file:
                start = file.read(len(_HDF5))
            archive = zipfile.is_zipfile(source) or tarfile.is_tarfile(source)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:  # of a compressed archive that is damaged
            raise InputError(f"{source} cannot be read ({error}); is it complete?") from error
        if start == _HDF5:
            return "hdf5"
        if not archive and start.startswith(_PICKLE):
            return "pickle"
    for name, _ in read_pngs(source):
        if png_crops.part_of(name):
            return "crops"
        if slices.part_of(name):
            return "slices"
    raise InputError(f"{source} holds nothing that is known; known are: {FORMS}")
