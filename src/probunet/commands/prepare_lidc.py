"""``probunet prepare ...`` of LIDC-IDRI: as downloaded, and as others prepared it and passed it on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from probunet.commands.outcomes import tell_store
from probunet.commands.tables import print_lidc
from probunet.core.cluster import anywhere, on_cluster
from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.data.lidc.annotations import load_table
from probunet.data.lidc.check import cross_check
from probunet.data.lidc.download import check_arguments, find_xml, prepare_lidc
from probunet.data.lidc.parts import Settings
from probunet.data.lidc.readers import CROP, SPACING_MM
from probunet.data.lidc_crops.community import prepare_import
from probunet.data.lidc_crops.slices import prepare_slices
from probunet.data.lidc_crops.stacks import prepare_stacks
from probunet.data.splits import FRACTIONS


def lidc(
    dicom: Path | None = None,
    out: Path | None = None,
    xml: Path | None = None,
    annotations: Literal["xml", "builtin"] = "xml",
    spacing: float = SPACING_MM,
    size: int = CROP,
    check: bool = False,
    keep_going: bool = False,
    jobs: int = -1,
    cluster: str | None = None,
    dims: Literal[2, 3] = 2,
) -> None:
    """Prepare the original LIDC-IDRI download: CT around every lesion, with the outlines of up to four readers.

    CT series are found at any depth. Finished scans are kept beside the store until it is complete, so the same command
    goes on after an interruption. With --check, --dicom and --out may be left out.

    Args:
        dicom: folder of the download, with LIDC-IDRI-NNNN/<study>/<series>/*.dcm.
        out: folder of the store to make.
        xml: folder with the readers' XML, if it is not inside --dicom.
        annotations: take outlines from the readers' XML, or the built-in contours (no XML is needed then).
        spacing: mm of the pixels.
        size: pixels along either side, at least 16.
        check: first compare the XML with the built-in contours, annotation by annotation, and list what differs.
        keep_going: report and skip scans that cannot be read, and missing slices, instead of stopping at the first.
        jobs: parallel processes, -1 for one per core; a joblib backend chosen in Python (Dask, Ray) is used instead.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.
        dims: 3 for a volume of each lesion, on the slices of its scan and some above and below, 2 for its slices.

    Raises:
        InputError: something is missing, unreadable or contradictory; names the file.

    Examples:
        probunet prepare lidc --dicom LIDC-IDRI --out data/lidc
        probunet prepare lidc --dicom LIDC-IDRI --xml tcia-lidc-xml --out data/lidc --keep-going
        probunet prepare lidc --dicom LIDC-IDRI --out data/lidc3d --dims 3 --spacing 0.7 --size 64
        probunet prepare lidc --xml tcia-lidc-xml --check
    """
    if check and not (dicom or xml):
        raise InputError("--check needs the readers' XML: give --xml or --dicom")
    if not check and (dicom is None or out is None):
        raise InputError("give --dicom, the folder of the download, and --out, the folder of the store to make")
    if out and dicom is None:
        raise InputError("--out needs --dicom, the folder of the download")
    if dicom and out:
        check_arguments(dicom, out, Settings(annotations, spacing, size, keep_going))
    folder = xml or dicom
    index = find_xml(folder, keep_going) if folder and (check or annotations == "xml") else None
    if check and index:
        with console.status(f"comparing {len(index.files):,} scans"):
            comparison = cross_check(index, load_table())
        print(comparison)
    if dicom and out:
        with on_cluster(cluster):
            places = anywhere(dicom, cluster), anywhere(out, cluster)
            store, summary = prepare_lidc(*places, index, annotations, spacing, size, keep_going, jobs, dims)
        print_lidc(summary)
        tell_store(store)


def slices(
    archive: Path,
    out: Path,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    spacing: float | None = None,
    size: int | None = None,
    dims: Literal[2, 3] = 2,
) -> None:
    """Prepare real LIDC-IDRI crops in the LIDC-IDRI-slices layout.

    Crops on which no reader marked anything are left out and counted. With --dims 3 the crops of each lesion are
    stacked to a volume, which ends where the last reader ended.

    Args:
        archive: .tar, .tar.gz, .tar.xz, .zip or folder with <patient>/nodule-<n>/images/slice-<k>.png.
        out: folder of the store to make.
        fractions: shares of patients for train, validation and test; 0 0 1 puts everyone into test.
        seed: of the split by patient.
        spacing: resample to pixels of so many mm; the scans' own spacing is found in the built-in annotations by
            patient and mask sizes, and crops of lesions that are not found there are left out and counted.
        size: pixels along either side after resampling; the largest even number that every crop covers, unless given.
        dims: 3 for a volume of each lesion, on its native grid, 2 for the crops.

    Raises:
        InputError: the archive is unreadable or incomplete, or ``out`` cannot be written.

    Examples:
        probunet prepare slices --archive lidc_slices.tar.gz --out data/slices
        probunet prepare slices --archive elsewhere.zip --out data/elsewhere --fractions 0 0 1
        probunet prepare slices --archive lidc_slices.tar.gz --out data/slices_mm --spacing 0.5
        probunet prepare slices --archive lidc_slices.tar.gz --out data/stacks --dims 3
    """
    if dims == 3:
        if spacing is not None or size is not None:
            raise InputError("--spacing and --size are for crops; volumes keep their own grid, leave them out")
        tell_store(prepare_stacks(archive, out, fractions, seed))
        return
    tell_store(prepare_slices(archive, out, fractions, seed, spacing, size))


def import_crops(
    source: Path,
    /,
    out: Path,
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    spacing: float | None = None,
    size: int | None = None,
) -> None:
    """Prepare LIDC-IDRI crops that others made: 180x180 PNG crops, LIDC-IDRI-slices, data_lidc.pickle or its HDF5.

    Which of them it is shows in the content. Splits keep patients together; where a file does not say which
    patient a slice is of, the series, and that is said. No code in a file is run.

    Args:
        source: file, archive (.tar, .tar.gz, .tar.xz, .zip) or folder.
        out: folder of the store to make.
        fractions: shares of patients for train, validation and test; unless given, the source's own split, or 0.7 0.15
            0.15 where it has none.
        seed: of a split that is drawn.
        spacing: LIDC-IDRI-slices only: resample to pixels of so many mm.
        size: LIDC-IDRI-slices only, with ``spacing``: pixels along either side.

    Raises:
        InputError: the source is none of these, unreadable or damaged, or ``out`` cannot be written.

    Examples:
        probunet prepare import lidc_crops --out data/crops
        probunet prepare import data_lidc.pickle --out data/pickle
        probunet prepare import lidc_slices.tar.gz --out data/slices --spacing 0.5
    """
    tell_store(prepare_import(source, out, fractions, seed, spacing, size))
