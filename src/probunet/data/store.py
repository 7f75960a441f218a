"""The prepared dataset on disk: memory-mapped arrays, a table of cases, a manifest with checksums.

A store is a folder of

- ``images.npy`` (N, C, H, W), raw intensities as in the source (HU, grey levels);
- ``labels.npy`` (N, R, H, W) uint8, one label map per reader (a single one where labels flip, see ``flips.py``);
- of volumes, which may differ in size, both hold all V voxels one after another, (V, C) and (V, R), and there are
  ``sizes.npy`` (N, 3) depth, height and width, ``spacings.npy`` (N, 3) in mm and ``affines.npy`` (N, 4, 4), from
  (column, row, slice) to mm in the axes of NIfTI; the last two are NaN where nobody knows;
- ``present.npy`` (N, R) bool, which readers looked at which image; only where a reading is missing (it is ``IGNORE``
  everywhere in ``labels.npy``, and neither drawn in training nor counted in evaluation);
- ``cases.csv``, a line a case: name, patient, split;
- ``manifest.json``: what it is, how it was made, counts, readers, sizes and SHA-256 of the other files.

It appears under its name only when it is complete, and the same arguments give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import regular_file, sha256, shown
from probunet.core.intensity import Intensity
from probunet.core.types import IGNORE
from probunet.data.flips import Flip, mode_probabilities
from probunet.data.identity import Identity
from probunet.data.manifest import PLACES, SPLITS, Split, read_cases, read_manifest
from probunet.data.volumes import Volumes, loaded, read_places
from probunet.metrics.convention import Convention

ARRAYS = {"images.npy", "labels.npy"}
"""Too large to be read whole whenever a store is opened."""
LARGEST_INPUT = 1e6
"""Largest magnitude of a normalised value: what is beyond it is damage, and overflows in a network."""


class Store:
    """A prepared dataset, opened read-only; arrays stay on disk until they are indexed.

    ``store.images[i]`` is the image (C, *size) of a case and ``store.labels[i]`` its readings (R, *size), where size is
    (H, W), or (D, H, W) of volumes. Images are one array (N, C, H, W), so several can be taken at once.

    Args:
        path: the folder.

    Attributes:
        dims: axes of an image: 2, or 3 for volumes.
        sizes: (N, dims) of the images in pixels or voxels.

    Raises:
        InputError: not a store, made by a newer version, a file missing or of another size than the manifest
            says, or a manifest that does not fit its files.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)
        for name, facts in self.manifest["files"].items():
            _check_size(self.path / name, facts["bytes"])
        self.dims = int(self.manifest["dims"])
        self.images, self.labels = self._arrays()
        self.complete = "present.npy" not in self.manifest["files"]
        self.present = np.ones((len(self.labels), self.readers), bool) if self.complete else self._present()
        self.cases = read_cases(self.path / "cases.csv")
        self.intensity = Intensity(**self.manifest["intensity"])
        self.flips = tuple(Flip(**flip) for flip in self.manifest["flips"])
        counts = {split: sum(case.split == split for case in self.cases) for split in SPLITS}
        stated = {split: facts["cases"] for split, facts in self.manifest["splits"].items()}
        if len(self.cases) != len(self.images) or counts != stated:
            raise InputError(
                f"{shown(self.path / 'cases.csv')} has {counts} cases for {len(self.images)} images, its manifest says "
                f"{stated}; prepare the store again"
            )
        self._verify(self.manifest["files"].keys() - ARRAYS)

    def _arrays(self) -> tuple[Any, Any]:
        """Images and readings by case; sizes and places of the cases are kept."""
        images, labels = self._array("images"), self._array("labels")
        if self.dims == 2:
            self.sizes = np.broadcast_to(np.array(images.shape[2:], np.int64), (len(images), 2))
            return images, labels
        self.sizes, self._spacings, self._affines = read_places(self.path, len(images))
        return Volumes(images, self.sizes), Volumes(labels, self.sizes)

    def _array(self, name: str) -> npt.NDArray[Any]:
        file, facts = self.path / f"{name}.npy", self.manifest[name]
        array = loaded(file, mmap_mode="r")
        if list(array.shape) != facts["shape"] or str(array.dtype) != facts["dtype"]:
            raise InputError(
                f"{shown(file)} is {array.dtype} of shape {array.shape}, its manifest says {facts['dtype']} of shape "
                f"{facts['shape']}; prepare the store again"
            )
        return array

    def _present(self) -> npt.NDArray[np.bool_]:
        file = self.path / "present.npy"
        present = loaded(file)
        if present.dtype != bool or present.shape != (len(self.labels), self.readers) or not present.any(axis=1).all():
            raise InputError(
                f"{shown(file)} is {present.dtype} of shape {present.shape}; it must say of every case and reader of "
                f"labels.npy whether there is a reading, at least one a case; prepare the store again"
            )
        return present

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        """Another process opens the folder itself: pickling memory-mapped arrays would copy them."""
        return Store, (self.path,)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background first."""
        return list(self.manifest["classes"])

    def convention(self) -> Convention:
        """How distances on this data are measured.

        Readers: the paper's convention on LIDC-IDRI. Label flips: the authors' on Cityscapes, over the classes that
        flip and what they become, against all modes with their probabilities.
        """
        if not self.flips:
            return Convention(len(self.classes), ignore=IGNORE)
        ids = (*(flip.class_id for flip in self.flips), *(flip.flipped_id for flip in self.flips))
        weights = tuple(mode_probabilities(self.flips))
        return Convention(len(self.classes), ids, ignore=IGNORE, empty="skip", weights=weights)

    @property
    def channels(self) -> int:
        """Values of a pixel, C."""
        return int(self.manifest["images"]["shape"][1])

    @property
    def readers(self) -> int:
        """Label maps per image, R, missing ones included."""
        return int(self.manifest["labels"]["shape"][1])

    def size(self, row: int) -> tuple[int, ...]:
        """Height and width of a case in pixels; depth, height and width of a volume."""
        return tuple(self.sizes[row].tolist())

    def spacing(self, row: int) -> tuple[float, ...] | None:
        """mm of the pixels of a case in the order of its axes; ``None`` where nobody knows."""
        if self.dims == 2:
            spacing = self.manifest["spacing_mm"]
            return None if spacing is None else tuple(spacing)
        known = self._spacings[row].tolist()
        return None if np.isnan(known).any() else tuple(known)

    def affine(self, row: int) -> npt.NDArray[np.float64] | None:
        """(4, 4) from (column, row, slice) of a volume to mm in the axes of NIfTI; ``None`` where nobody knows."""
        known = None if self.dims == 2 else self._affines[row]
        return None if known is None or np.isnan(known).any() else known

    @property
    def reader_names(self) -> tuple[str, ...] | None:
        """The person behind each column of readings; ``None`` where a column is not always the same person."""
        names = self.manifest["readers"]
        return None if names is None else tuple(names)

    @property
    def reader_labels(self) -> tuple[str, ...]:
        """What to call each column of readings: its person, or its number where nobody is named."""
        return self.reader_names or tuple(f"reader {column + 1}" for column in range(self.readers))

    def patients(self, split: Split | None = None) -> list[str]:
        """The patients of one split, or all of them, in the order of their names."""
        return sorted({case.patient for case in self.cases if split in (None, case.split)})

    def identity(self) -> Identity:
        """What must be equal for another store, or a record of one, to be the same data."""
        sums = {name: facts["sha256"] for name, facts in self.manifest["files"].items()}
        convention = json.loads(json.dumps(self.convention().as_json()))
        places = None
        if self.dims == 3:
            places = hashlib.sha256("".join(sums[name] for name in PLACES).encode()).hexdigest()
        return Identity(
            sums["images.npy"], sums["labels.npy"], sums.get("present.npy"), sums["cases.csv"], convention, places
        )

    def normalised(
        self,
        rows: npt.NDArray[np.int64],
        raw: npt.NDArray[Any] | None = None,
        intensity: Intensity | None = None,
    ) -> npt.NDArray[np.float32]:
        """What a model sees of some cases.

        Args:
            rows: positions of B cases.
            raw: their raw values (B, C, *size) where these were cut or changed; read from the store if not given,
                which does for images only.
            intensity: the model's own map; the store's if not given.

        Returns:
            (B, C, *size).

        Raises:
            InputError: a value is not finite, or beyond anything that a picture can hold.
        """
        values = (intensity or self.intensity).normalise(self.images[rows] if raw is None else raw)
        if not (np.abs(values) < LARGEST_INPUT).all():
            worst = np.abs(np.nan_to_num(values, nan=np.inf)).reshape(len(rows), -1).max(axis=1).argmax()
            name = self.cases[rows[worst]].name
            raise InputError(
                f"{shown(self.path)}: the image of the case '{name[:80]}' holds values that are not finite or far "
                f"beyond {self.intensity.unit} of a picture; prepare the store again without it"
            )
        return values

    def readings(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Readings of some images: rows and columns of ``labels`` are broadcast against each other.

        Returns:
            (..., H, W) class ids, ``IGNORE`` where nothing is known.

        Raises:
            InputError: a label that is no class of the store.
        """
        return self.checked(self.labels[rows, columns])

    def checked(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Labels of the store, read from the disk.

        Raises:
            InputError: one that is no class of the store.
        """
        labels = np.asarray(labels)
        unknown = (labels >= len(self.classes)) & (labels != IGNORE)
        if unknown.any():
            raise InputError(
                f"{shown(self.path / 'labels.npy')} holds the label {labels[unknown][0]}, the manifest has "
                f"{len(self.classes)} classes; prepare the store again"
            )
        return labels

    def indices(self, split: Split) -> npt.NDArray[np.int64]:
        """Positions of the cases of one split.

        Raises:
            InputError: there are none, or no such split.
        """
        if split not in SPLITS:
            raise InputError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
        rows = np.flatnonzero([case.split == split for case in self.cases])
        if not len(rows):
            counts = {name: facts["cases"] for name, facts in self.manifest["splits"].items()}
            raise InputError(f"{self.path} has no cases in split '{split}' (it has {counts})")
        return rows

    def verify(self) -> None:
        """Compare the SHA-256 of every file with the manifest; opening a store does so for all but the large arrays.

        Raises:
            InputError: a file was changed since the store was made.
        """
        self._verify(self.manifest["files"])

    def _verify(self, names: Iterable[str]) -> None:
        for name in names:
            if sha256(self.path / name) != self.manifest["files"][name]["sha256"]:
                raise InputError(
                    f"{shown(self.path / name)} does not match its checksum in the manifest, it was changed since; "
                    "prepare the store again"
                )


def _check_size(file: Path, expected: int) -> None:
    if not file.exists():
        raise InputError(f"{shown(file)} is missing; prepare the store again")
    actual = regular_file(file).stat().st_size
    if actual != expected:
        raise InputError(
            f"{file} has {actual:,} bytes, its manifest says {expected:,}: it was truncated or changed; "
            "prepare the store again"
        )
