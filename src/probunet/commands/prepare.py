"""``probunet prepare ...``: stores of built-in data and of your own; what a folder or a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from probunet.commands.outcomes import tell_store
from probunet.core.cluster import anywhere, on_cluster
from probunet.core.console import console, say
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.data.lidc.readers import CROP, SPACING_MM
from probunet.data.manifest import Split
from probunet.data.own.folder_store import prepare_folder
from probunet.data.own.folder_volumes import prepare_folder_volumes
from probunet.data.own.street_folder import prepare_cityscapes, prepare_labelled
from probunet.data.simulated.builtin import IMAGES, SIZE, prepare_readers, prepare_streets
from probunet.data.splits import FRACTIONS
from probunet.data.store import Store
from probunet.metrics.consensus import Consensus


def readers(
    out: Path,
    spacing: float = SPACING_MM,
    size: int = CROP,
    limit: int | None = None,
    seed: int = 0,
    jobs: int = -1,
    cluster: str | None = None,
    dims: Literal[2, 3] = 2,
) -> None:
    """Prepare the built-in data: the outlines of LIDC-IDRI's readers, with simulated CT around them.

    15,777 slices of 2,650 lesions of 875 patients, four readings each, split by patient. A slice, or a lesion as a
    volume, on which every outline is so small that its interior is empty shows nothing; it is left out and counted.

    Args:
        out: folder of the store to make.
        spacing: mm of the pixels.
        size: pixels along either side, at least 16.
        limit: only this many lesion slices, or lesions as volumes, spread over all patients.
        seed: of the simulated CT.
        jobs: parallel processes, -1 for one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.
        dims: 3 for a volume of each lesion, on the slices of its scan and some above and below, 2 for its slices.

    Raises:
        InputError: arguments out of range, or ``out`` cannot be written.

    Examples:
        probunet prepare readers --out data/readers
        probunet prepare readers --out data/demo --spacing 1 --size 64
        probunet prepare readers --out data/lesions --dims 3 --spacing 0.7 --size 64
    """
    with on_cluster(cluster):
        tell_store(prepare_readers(anywhere(out, cluster), spacing, size, limit, seed, jobs, dims))


def streets(
    out: Path,
    images: tuple[int, int, int] = IMAGES,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    jobs: int = -1,
    cluster: str | None = None,
) -> None:
    """Prepare simulated street scenes whose labels flip with the paper's five probabilities (32 known modes).

    Args:
        out: folder of the store to make.
        images: how many for train, validation and test.
        size: height and width in pixels, at least 32.
        seed: of the scenes.
        jobs: parallel processes, -1 for one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.

    Raises:
        InputError: arguments out of range, or ``out`` cannot be written.

    Examples:
        probunet prepare streets --out data/streets
        probunet prepare streets --out data/wide --size 128 256 --seed 1
    """
    with on_cluster(cluster):
        tell_store(prepare_streets(anywhere(out, cluster), images, size, seed, jobs))


def labelled(root: Path, classes: Path, out: Path, jobs: int = -1, cluster: str | None = None) -> None:
    """Prepare street photographs with stochastic label flips, by a class table.

    Args:
        root: folder with the unpacked files.
        classes: YAML file with the class table, or the name of one that comes with probunet: camvid.
        out: folder of the store to make.
        jobs: parallel processes, -1 for one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.

    Raises:
        InputError: the table or a file cannot be used; the message names it.

    Examples:
        probunet prepare labelled --root camvid --classes camvid --out data/camvid
    """
    with on_cluster(cluster):
        tell_store(prepare_labelled(anywhere(root, cluster), classes, anywhere(out, cluster), jobs))


def cityscapes(root: Path, out: Path, jobs: int = -1, cluster: str | None = None) -> None:
    """Prepare Cityscapes with the paper's five stochastic label flips, at 256x512 px.

    The official training images without Darmstadt, Moenchengladbach and Ulm are for training (2,701), those three
    cities for validation (274), the official validation images for testing (500).

    Args:
        root: folder that holds leftImg8bit and gtFine as they come from cityscapes-dataset.com.
        out: folder of the store to make.
        jobs: parallel processes, -1 for one per core.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.

    Raises:
        InputError: a file is missing or cannot be used; the message names it.

    Examples:
        probunet prepare cityscapes --root cityscapes --out data/cityscapes
    """
    with on_cluster(cluster):
        tell_store(prepare_cityscapes(anywhere(root, cluster), anywhere(out, cluster), jobs))


def folder(
    root: Path,
    out: Path,
    size: list[int] | None = None,
    spacing: list[float] | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    keep_empty: bool = False,
    consensus: Consensus | None = None,
    dims: Literal[2, 3] = 2,
    jobs: int = 1,
    cluster: str | None = None,
) -> None:
    """Prepare your own images and readers: nnU-Net's folders, with labelsTr/<case>/<reader>.<ext>.

    dataset.json holds channel_names, labels, file_ending and, where wanted, name, licence, patients (case to patient),
    splits (train, validation, test to lists of cases) and persistent_readers. Instead of imagesTr and labelsTr there
    may be a folder for each case, with image.<ext> and <reader>.<ext>. Volumes are taken slice by slice, or whole with
    --dims 3. What no reader marked anything on is left out and counted. The split is written to cases.csv of the store.

    Args:
        root: folder with dataset.json, imagesTr and labelsTr.
        out: folder of the store to make.
        size: height and width to which images are cropped or padded around their centre; needed where they differ.
            Volumes keep their own size.
        spacing: mm of the pixels to which all images are brought, where their files say how large theirs are; of
            volumes one number, or three for slices, rows and columns.
        fractions: shares of patients for train, validation and test, where dataset.json does not give the splits.
        seed: of the split by patient.
        keep_empty: keep slices on which readers looked and marked nothing.
        consensus: store one label map a case in place of all readers': their majority, or STAPLE's (which needs
            SimpleITK); all readers are kept if not given.
        dims: 3 for volumes as they are, 2 for their slices; the same seed gives the same patients in each split.
        jobs: parallel processes, -1 for one per core; one reads a volume once for all its slices.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.

    Raises:
        InputError: a file is missing, unreadable or does not fit, or ``out`` cannot be written.

    Examples:
        probunet prepare folder --root mine --out data/mine
        probunet prepare folder --root mine --out data/mine --size 256 256 --spacing 0.5
        probunet prepare folder --root mine --out data/volumes --dims 3
    """
    places, jobs = (anywhere(root, cluster), anywhere(out, cluster)), -1 if cluster else jobs
    if dims == 3:
        if size is not None:
            raise InputError("--size is for slices; volumes keep their own size, leave it out")
        with on_cluster(cluster):
            tell_store(prepare_folder_volumes(*places, spacing, fractions, seed, keep_empty, consensus, jobs))
        return
    if spacing is not None and len(spacing) != 1:
        raise InputError(f"--spacing {' '.join(map(str, spacing))} is not one pixel size; give one number in mm")
    target = None if spacing is None else spacing[0]
    with on_cluster(cluster):
        tell_store(prepare_folder(*places, size, target, fractions, seed, keep_empty, consensus, jobs))


def inspect(data: Path, /, picture: Path | None = None) -> None:
    """Print what a folder for 'prepare folder', or a prepared store, holds: sizes, intensities, readers, agreement.

    Every file is read and checked, and nothing is written but the picture.

    Args:
        data: folder with dataset.json, imagesTr and labelsTr, or a prepared store.
        picture: .png of a contact sheet to write: some images and what each reader marked.

    Raises:
        InputError: a file is missing, unreadable or does not fit.

    Examples:
        probunet prepare inspect mine
        probunet prepare inspect data/mine --picture mine.png
    """
    from probunet.data.own.fingerprint import fingerprint  # agreement needs torch, which takes seconds to load

    print("\n".join(fingerprint(data, picture).lines()))


def pictures(store: Path, /, out: Path, split: Split = "test", n: int = 4) -> None:
    """Write some images of a prepared store as files, in raw values, to try a model on.

    Args:
        store: the prepared store.
        out: folder to make, with one .npy file (C, H, W) for each image; volumes are NIfTI files, with their place in
            space where the store knows it and without one where nobody does.
        split: part of the store: train, validation or test.
        n: how many, spread evenly over the split.

    Raises:
        InputError: it is not a store, the folder exists, or volumes need nibabel, which is not installed.

    Examples:
        probunet prepare pictures data/demo --out pictures
    """
    from probunet.data.pictures import write_pictures  # as above

    opened = Store(store)
    files = write_pictures(opened, out, split, n)
    names = ", ".join(file.name for file in files)
    what = "images" if opened.dims == 2 else "files of volumes"
    say(f"{len(files)} {what} of the {split} split of {shown(store)} are in {shown(out)}: {names}")


def verify(store: Path, /) -> None:
    """Verify the checksums of a prepared store.

    Args:
        store: the folder.

    Raises:
        InputError: it is not a store, or a file was changed since it was made.

    Examples:
        probunet prepare verify data/readers
    """
    opened = Store(store)
    opened.verify()
    console.print(f"{store} is intact: {len(opened.cases):,} cases, {opened.manifest['title']}")
