"""A fingerprint of a folder of images and readers, or of a prepared store, and a contact sheet; writes no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.files import check_outputs
from probunet.core.marks import foreground, fullest_slice, marked
from probunet.core.packages import require
from probunet.core.writing import writing_file
from probunet.data.manifest import is_store
from probunet.data.own.folder import Dataset, open_folder, read_case
from probunet.data.store import Store
from probunet.metrics.agreement import Agreement

SHOWN = 8
"""Images on a contact sheet."""
MARK = b"probunet prepare inspect"
"""In every sheet; a picture without it is not replaced."""


@dataclass(frozen=True)
class Reading:
    """An image, slice or volume with the readers who looked: image (C, *size), labels (R, *size), R names."""

    name: str
    patient: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    readers: tuple[str, ...]
    spacing: tuple[float, ...] | None


@dataclass
class Fingerprint:
    """What data holds, counted image by image.

    Attributes:
        classes: their names, background first.
        images: number of images, slices or volumes.
        patients: the patients.
        sizes: images by (H, W), or volumes by (D, H, W).
        spacings: images by pixel spacing in mm, in the same order.
        types: images by data type.
        readers: images by number of readers.
        pixels: pixels by class, over all readings; the last entry counts ignored ones.
        readings: number of readings.
        empty: readings without any mark.
        by_reader: by the reader's name, how many readings, how many of them empty, and the marked share of the pixels.
        persistent: whether a reader's name is the same person everywhere.
        unmarked: images on which no reader marked anything.
        low: smallest value of each channel.
        high: largest value of each channel.
        agreement: between the readers.
    """

    classes: list[str]
    images: int = 0
    patients: set[str] = field(default_factory=set)
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    spacings: Counter[Any] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    readers: Counter[int] = field(default_factory=Counter)
    pixels: npt.NDArray[np.int64] = field(init=False)
    readings: int = 0
    empty: int = 0
    by_reader: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    persistent: bool = False
    unmarked: int = 0
    low: npt.NDArray[Any] | None = None
    high: npt.NDArray[Any] | None = None
    agreement: Agreement = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = np.zeros(len(self.classes) + 1, np.int64)
        self.agreement = Agreement(len(self.classes))

    def add(self, reading: Reading) -> None:
        """Count one image."""
        size = reading.image.shape[1:]
        axes = tuple(range(1, 1 + len(size)))
        shown = marked(reading.labels, len(size))
        self.images += 1
        self.patients.add(reading.patient)
        self.sizes[size] += 1
        self.spacings[reading.spacing] += 1
        self.types[str(reading.image.dtype)] += 1
        self.readers[len(reading.labels)] += 1
        counts = np.bincount(reading.labels.ravel(), minlength=256)
        self.pixels += np.append(counts[: len(self.classes)], counts[-1])
        self.readings += len(shown)
        self.empty += int((~shown).sum())
        shares = foreground(reading.labels).mean(axis=axes)
        for reader, seen, share in zip(reading.readers, shown, shares, strict=True):
            self.by_reader.setdefault(reader, np.zeros(3))[:] += 1, not seen, share
        self.unmarked += int(not shown.any())
        low, high = reading.image.min(axis=axes), reading.image.max(axis=axes)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.agreement.add(reading.labels)

    def lines(self) -> list[str]:
        """The fingerprint in words, a fact a line."""
        assert self.low is not None
        assert self.high is not None
        spacings = Counter({"unknown" if s is None else f"{_by(s)} mm": 0 for s in self.spacings})
        for spacing, count in self.spacings.items():
            spacings["unknown" if spacing is None else f"{_by(spacing)} mm"] += count
        shares = self.pixels / max(self.pixels.sum(), 1)
        named = [f"{name} {share:.2%}" for name, share in zip([*self.classes, "ignored"], shares, strict=True) if share]
        ranges = [f"{low:g} to {high:g}" for low, high in zip(self.low.tolist(), self.high.tolist(), strict=True)]
        return [
            f"images           {self.images:,} of {len(self.patients):,} patients",
            f"sizes (px)       {_most({'x'.join(map(str, size)): n for size, n in self.sizes.items()})}",
            f"pixel spacing    {_most(spacings)}",
            f"intensities      {'; '.join(ranges)} ({', '.join(self.types)})",
            f"classes          {', '.join(named)} of all pixels",
            f"readers          {_most({f'{n} reader(s)': count for n, count in sorted(self.readers.items())})}",
            f"empty masks      {self.empty:,} of {self.readings:,} ({self.empty / self.readings:.1%}); "
            f"{self.unmarked:,} images without any mark",
            f"agreement        pairwise IoU {_number(self.agreement.iou())}, "
            f"Fleiss' kappa {_number(self.agreement.kappa())}",
            *self._reader_lines(),
        ]

    def _reader_lines(self) -> list[str]:
        """A line a reader where names are persons, a line that says so where they are not."""
        if not self.persistent:
            return ["each reader      nobody knows who gave which reading: a column is not always the same person"]
        return [
            f"{reader[:16]:<16} {int(count):,} readings, {int(empty):,} empty, marks {share / count:.2%} of the pixels"
            for reader, (count, empty, share) in sorted(self.by_reader.items())
        ]


def fingerprint(data: Path, picture: Path | None = None) -> Fingerprint:
    """Read a folder for 'prepare folder', or a prepared store, whole and count what it holds.

    Args:
        data: folder with dataset.json, imagesTr and labelsTr, or a prepared store.
        picture: .png of a contact sheet to write: some images and what each reader marked.

    Raises:
        InputError: a file is missing, unreadable or does not fit.
    """
    if picture is not None and picture.suffix != ".png":
        raise InputError(f"{picture} is no .png; give the picture a name that ends so")
    if picture is not None:
        require("matplotlib", "a contact sheet")
        check_outputs([picture], [data], [MARK])
    if is_store(data):
        store = Store(data)
        if store.flips:
            raise InputError(f"{data} has one label map an image and label flips, no readers to inspect")
        found, source = Fingerprint(store.classes, persistent=store.reader_names is not None), _of_store(store)
    else:
        dataset = open_folder(data)
        found, source = Fingerprint(list(dataset.classes), persistent=dataset.persistent), _of_folder(dataset)
    kept: list[Reading] = []
    random = np.random.default_rng(0)
    with console.status(f"reading {data}"):
        for reading in source:
            found.add(reading)
            _keep(kept, reading, found, random)
    if picture is not None:
        _contact_sheet(picture, kept, len(found.classes))
    return found


def _keep(kept: list[Reading], reading: Reading, found: Fingerprint, random: np.random.Generator) -> None:
    """Keep a random few of the images on which somebody marked something (reservoir sampling)."""
    if not marked(reading.labels, reading.labels.ndim - 1).any():
        return
    if reading.labels.ndim == 4:
        reading = _fullest_slice(reading)
    place = int(random.integers(found.images - found.unmarked))
    if len(kept) < SHOWN:
        kept.append(reading)
    elif place < SHOWN:
        kept[place] = reading


def _fullest_slice(reading: Reading) -> Reading:
    """The slice of a volume on which most is marked."""
    number = fullest_slice(reading.labels) or 0
    return replace(
        reading,
        name=f"{reading.name}/slice-{number:03d}",
        image=reading.image[:, number],
        labels=reading.labels[:, number],
    )


def _of_store(store: Store) -> Iterator[Reading]:
    for i, case in enumerate(store.cases):
        there = store.present[i]
        labels, readers = np.asarray(store.labels[i][there]), tuple(np.array(store.reader_labels)[there].tolist())
        yield Reading(case.name, case.patient, np.asarray(store.images[i]), labels, readers, store.spacing(i))


def _of_folder(dataset: Dataset) -> Iterator[Reading]:
    read_case.cache_clear()
    for case in dataset.cases:
        volume, labels = read_case(case, *dataset.declared)
        there = [file is not None for file in case.readings]
        readers = tuple(np.array(dataset.readers)[there].tolist())
        for k, (image, label) in enumerate(zip(volume.values, labels, strict=True)):
            name = case.name if len(labels) == 1 else f"{case.name}/slice-{k:03d}"
            yield Reading(name, case.patient, image, label[there], readers, volume.pixel_mm)


def _contact_sheet(file: Path, kept: list[Reading], classes: int) -> None:
    from probunet.drawing.pictures import grid_figure, show  # matplotlib loads slowly
    from probunet.drawing.pixels import as_rgb, class_palette, paint

    if not kept:
        raise InputError(f"there is nothing to draw in {file}: no reader marked anything anywhere")
    columns = 1 + max(len(reading.labels) for reading in kept)
    figure = grid_figure(1.5 * columns, 1.65 * len(kept))
    axes = figure.subplots(len(kept), columns, squeeze=False)
    palette = class_palette(classes, ())
    for row, reading in zip(axes, kept, strict=True):
        for axis in row:
            axis.axis("off")
        show(row[0], as_rgb(reading.image), reading.name)
        for axis, label, reader in zip(row[1:], reading.labels, reading.readers, strict=False):
            show(axis, paint(reading.image, label, palette), reader if marked(label) else f"{reader}: empty")
    with writing_file(file) as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": MARK.decode()})


def _by(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:.4g}" for mm in spacing)


def _most(counts: dict[str, int]) -> str:
    """The most frequent values with their counts; only the value where there is reading."""
    if len(counts) == 1:
        return next(iter(counts))
    first = sorted(counts.items(), key=lambda item: -item[1])[:6]
    return ", ".join(f"{name}: {n:,}" for name, n in first) + (", ..." if len(counts) > len(first) else "")


def _number(value: float) -> str:
    return "not defined" if np.isnan(value) else f"{value:.3f}"
