"""The prepared dataset on disk: memory-mapped arrays, a table of cases, a manifest with checksums.

A store is a folder of

- ``images.npy`` (N, C, H, W), raw intensities as in the source (HU, grey levels);
- ``labels.npy`` (N, R, H, W) uint8, one label map per reader (a single one where labels flip, see ``flips.py``);
- ``present.npy`` (N, R) bool, which readers looked at which image; only where a reading is missing (it is ``IGNORE``
  everywhere in ``labels.npy``, and neither drawn in training nor counted in evaluation);
- ``cases.csv``, a line a case: name, patient, split;
- ``manifest.json``: what it is, how it was made, counts, sizes and SHA-256 of the other files.

It appears under its name only when it is complete, and the same arguments give the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.types import IGNORE
from probunet.data.flips import Flip, mode_probabilities
from probunet.metrics.convention import Convention

VERSION = 2
"""2: a store may lack readings. One that is complete is written as version 1, which older programs read."""
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Case:
    """One image with its readers.

    Attributes:
        name: unique name, used in every message about it.
        patient: what must not be divided between splits and is resampled as a whole.
        split: the part of the data that it belongs to.
    """

    name: str
    patient: str
    split: Split


class Store:
    """A prepared dataset, opened read-only; arrays stay on disk until they are indexed.

    Args:
        path: the folder.

    Raises:
        InputError: not a store, made by a newer version, a file missing or of another size than the manifest
            says, or a manifest that does not fit its files.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest = _read_manifest(self.path)
        for name, facts in self.manifest["files"].items():
            _check_size(self.path / name, facts["bytes"])
        try:
            self.images = np.load(self.path / "images.npy", mmap_mode="r")
            self.labels = np.load(self.path / "labels.npy", mmap_mode="r")
            self.complete = "present.npy" not in self.manifest["files"]
            self.present = np.ones(self.labels.shape[:2], bool) if self.complete else np.load(self.path / "present.npy")
            with (self.path / "cases.csv").open(newline="") as file:
                self.cases = [Case(**row) for row in csv.DictReader(file)]  # type: ignore[arg-type]
            self.intensity = Intensity(**self.manifest["intensity"])
            self.flips = tuple(Flip(**flip) for flip in self.manifest.get("flips", ()))
            if self.present.shape != self.labels.shape[:2] or not self.present.any(axis=1).all():
                raise ValueError("present.npy does not fit labels.npy")
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.path} is not a usable store ({error}); prepare it again") from error
        if not len(self.images) == len(self.labels) == len(self.cases):
            raise InputError(
                f"{self.path} holds {len(self.images)} images, {len(self.labels)} label sets and "
                f"{len(self.cases)} names; prepare it again"
            )

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
    def readers(self) -> int:
        """Label maps per image, R, missing ones included."""
        return int(self.labels.shape[1])

    def indices(self, split: Split) -> npt.NDArray[np.int64]:
        """Positions of the cases of one split.

        Raises:
            InputError: there are none, or no such split.
        """
        if split not in SPLITS:
            raise InputError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
        found = np.flatnonzero([case.split == split for case in self.cases])
        if not len(found):
            counts = {name: facts["cases"] for name, facts in self.manifest["splits"].items()}
            raise InputError(f"{self.path} has no cases in split '{split}' (it has {counts})")
        return found

    def verify(self) -> None:
        """Compare the SHA-256 of every file with the manifest.

        Raises:
            InputError: a file was changed since the store was made.
        """
        for name, facts in self.manifest["files"].items():
            if sha256(self.path / name) != facts["sha256"]:
                raise InputError(
                    f"{self.path / name} does not match its checksum in the manifest; prepare the store again"
                )


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``manifest.json`` beside finished arrays: the given facts, then sizes and checksums."""
    names = [n for n in ("images.npy", "labels.npy", "present.npy", "cases.csv") if (folder / n).is_file()]
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}
    manifest = {
        "format": "probunet-store",
        "version": VERSION if "present.npy" in files else 1,
        **facts,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def write_cases(folder: Path, cases: Sequence[Case]) -> None:
    """Write ``cases.csv``."""
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["name", "patient", "split"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(case) for case in cases)


def marked(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether label maps (..., H, W) show anything but background; ``IGNORE`` shows nothing."""
    return np.asarray(((labels != 0) & (labels != IGNORE)).any(axis=(-2, -1)))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        raise InputError(f"{path} is not a prepared store (no manifest.json); make one with 'probunet prepare'")
    try:
        manifest = json.loads(file.read_text())
        version = manifest["version"]
        known = manifest["format"] == "probunet-store" and isinstance(version, int)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{file} is not a readable manifest ({error!r}); prepare the store again") from error
    if not known:
        raise InputError(f"{file} is not the manifest of a probunet store")
    if version > VERSION:
        raise InputError(f"{file} is of version {version}, this probunet reads up to {VERSION}; upgrade probunet")
    missing = {"files", "splits", "classes", "intensity"} - manifest.keys()
    if missing or not isinstance(manifest["files"], dict):
        raise InputError(f"{file} lacks {', '.join(sorted(missing)) or 'files'}; prepare the store again")
    return manifest


def _check_size(file: Path, expected: int) -> None:
    if not file.is_file():
        raise InputError(f"{file} is missing; prepare the store again")
    actual = file.stat().st_size
    if actual != expected:
        raise InputError(
            f"{file} has {actual:,} bytes, its manifest says {expected:,}: it was truncated or changed; "
            "prepare the store again"
        )
