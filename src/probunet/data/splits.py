"""Splits by patient: no patient is ever in two parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.descriptions import read_json
from probunet.core.errors import InputError
from probunet.data.manifest import SPLITS, Split

FRACTIONS = (0.7, 0.15, 0.15)
"""Of the patients, for train, validation and test, where neither the user nor the source says otherwise."""


def split_by_patient(patients: Sequence[str], fractions: Sequence[float], seed: int) -> dict[str, Split]:
    """Assign every distinct patient to train, validation or test.

    Args:
        patients: patient of every case, in any order.
        fractions: shares of train, validation and test, of the number of patients; they sum to 1.
        seed: of the order of the patients.

    Returns:
        From patient to split; a pure function of the set of patients, the fractions and the seed.

    Raises:
        InputError: not three non-negative fractions that sum to 1.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (3,) or not np.all(shares >= 0) or not np.isclose(shares.sum(), 1):
        raise InputError(f"fractions {list(fractions)} are not three shares (train validation test) that sum to 1")
    names = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(names))
    counts = np.diff(np.round(np.cumsum(shares) * len(names)).astype(int), prepend=0)
    for part in np.flatnonzero((shares > 0) & (counts == 0)):
        if counts.max() > 1:  # where a share is less than one patient, it gets one all the same
            counts[counts.argmax()] -= 1
            counts[part] += 1
    parts = np.repeat(np.arange(3), counts)
    return {names[i]: SPLITS[part] for i, part in zip(order, parts, strict=True)}


def patient_of_nobody(name: str, image: npt.NDArray[Any]) -> str:
    """The patient of a picture of which nobody says whose it is: its name and a checksum of its values.

    The names of files are no persons: ``case01`` of two sets are two people. The same picture is the same patient,
    whatever its readings, split, size or type of number.

    Args:
        name: of the picture, in its set.
        image: all its values, as they are in the source.
    """
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(image, np.float32) + np.float32(0)  # -0 is 0
    checksum = hashlib.sha256(f"{values.shape}".encode())
    checksum.update(values.astype("<f4", copy=False).tobytes())
    return f"{name} {checksum.hexdigest()[:12]}"


def empty_split_note(parts: Mapping[str, Split], fractions: Sequence[float]) -> str | None:
    """A sentence for people where there are too few patients for every part that was asked for, else ``None``.

    Args:
        parts: from patient to split.
        fractions: shares that were asked for.
    """
    empty = [split for split, share in zip(SPLITS, fractions, strict=True) if share and split not in parts.values()]
    if not empty:
        return None
    return (
        f"note: {len(parts)} patient(s) are too few to have {' and '.join(empty)} cases of other patients; training "
        "needs one patient for train and one for validation, evaluation one for test"
    )


def load_reader_split() -> dict[str, Split]:
    """Give the shipped split of all 1,010 LIDC-IDRI patients: 722 train, 144 validation, 144 test.

    The sizes are those of the paper (section 4.1); who is where is not published, so it was drawn once
    (``scripts/make_reader_annotations.py``) and is fixed in ``lidc_readers_split.json``. 135 patients have no
    outlined lesion and give no image.

    Returns:
        From patient id (``LIDC-IDRI-0001``) to split.
    """
    content = read_json(Path(__file__).with_name("lidc") / "lidc_readers_split.json")
    parts: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
    return {patient: split for key, split in parts.items() for patient in content[key]}
