"""What files hold, before a store is made of them: the type of the values, their map, the pixel size, the splits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import MOST_HU, RAW, Intensity
from probunet.core.words import counted
from probunet.data.manifest import Split
from probunet.data.own.folder import CaseFiles, Dataset, Images, is_ct
from probunet.data.prepare import Description
from probunet.data.splits import empty_split_note, patient_of_nobody, split_by_patient
from probunet.metrics.consensus import Consensus

log = logging.getLogger(__name__)

FEW_HU = 16.0
"""What spans no more was normalised by somebody: air, fat and water are a hundred HU apart and more."""
Size = TypeVar("Size", bound=tuple[float, ...])
"""mm of a pixel or voxel, in the order of the axes."""


@dataclass
class Moments:
    """Number, mean, sum of squared deviations and limits of values, merged without loss where the mean is large."""

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count some values in."""
        number, mean = values.size, float(values.mean(dtype=np.float64))
        with np.errstate(over="ignore"):  # what is infinite is refused in the end
            squares = float(np.square(values - mean, dtype=np.float64).sum())
        total, apart = self.number + number, mean - self.mean
        self.squares += squares + apart * apart * self.number * number / total
        self.mean += apart * number / total
        self.number = total
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))


@dataclass
class Survey:
    """What the images of a folder are, case by case, read before anything is written.

    Attributes:
        patients: of the cases; one whom nobody names is known by the values.
        every: moments of all values.
        train: of those of the training.
        types: of the values.
        largest: of the whole numbers among them, without their sign.
        unplaced: names of the cases that do not say where they lie.
        never_below_0: of those without a value below 0, which CT has wherever there is air or fat.
    """

    patients: list[str] = field(default_factory=list)
    every: Moments = field(default_factory=Moments)
    train: Moments = field(default_factory=Moments)
    types: set[np.dtype[Any]] = field(default_factory=set)
    largest: int = 0
    unplaced: list[str] = field(default_factory=list)
    never_below_0: list[str] = field(default_factory=list)

    def add(self, case: CaseFiles, images: Images, split: Split) -> None:
        """Look at the images of a case."""
        values = images.values
        self.types.add(values.dtype)
        if values.dtype.kind in "iu":
            self.largest = max(self.largest, int(values.max()), -int(values.min()))
        self.patients.append(patient_of_nobody(case.patient, values) if case.anonymous else case.patient)
        self.unplaced += [case.name] if images.affine is None else []
        self.never_below_0 += [case.name] if values.min() >= 0 else []
        self.every.add(values)
        if split == "train":
            self.train.add(values)

    def tell_unplaced(self) -> None:
        """Say which cases do not say where they lie, if others do: these are turned to one orientation."""
        names = self.unplaced
        if 0 < len(names) < len(self.patients):
            log.warning(
                f"note: {counted(len(names), 'case')} do not say where they lie ({', '.join(names[:3])[:100]}), as "
                "others do; they stay as they are stored, and may be turned against the others"
            )

    def store_type(self, title: str) -> np.dtype[Any]:
        """The type that holds every value of all files as it is.

        Args:
            title: of the set, for the message.

        Raises:
            InputError: there is none that a store can have.
        """
        types, largest = self.types, self.largest
        common = np.result_type(*types)
        if len(types) == 1 and (common.kind == "f" or common.itemsize < 8):
            return common
        if common.kind != "f" and common.itemsize == 8:  # of mere whole numbers
            common = np.dtype(np.int32 if largest < 1 << 31 else np.float64)
        elif common == np.float64 and common not in types and largest <= 1 << 24:
            common = np.dtype(np.float32)
        if common == np.float64 and largest > 1 << 53:
            raise InputError(f"{title} holds {largest}, which no store keeps to the digit; rescale the images")
        if len(types) > 1:
            log.warning(
                f"note: images hold {', '.join(sorted(map(str, types)))}; the store holds {common}, every value exact"
            )
        return common

    def intensity(self, dtype: np.dtype[Any], channels: Sequence[str]) -> Intensity:
        """Grey levels of pictures as always, all else by mean and standard deviation; CT in HU where it can be.

        They are those of the training, where there is one.

        Args:
            dtype: of the store.
            channels: their names.

        Raises:
            InputError: values that no network can take.
        """
        moments = self.train if self.train.number else self.every
        if dtype == np.uint8:
            if 0 <= moments.low < moments.high <= 1:
                log.warning(
                    "note: the images hold 0 and 1 alone, which are all but black among grey levels of 0 to 255"
                )
            return Intensity("grey level", offset=128, scale=64)
        deviation = float(np.sqrt(moments.squares / moments.number)) or 1.0
        if not (abs(moments.mean) < 1e12 and 1e-12 < deviation < 1e12):
            raise InputError(f"the images have the mean {moments.mean:.3g} and deviation {deviation:.3g}; rescale them")
        unit = _unit(moments, channels)
        if unit == "HU" and self.never_below_0:
            names = self.never_below_0
            log.warning(
                f"note: {counted(len(names), 'CT case')} have no value below 0 ({', '.join(names[:3])[:100]}), where "
                "others have; see that they are in HU, not shifted by 1,024"
            )
        return Intensity(unit, offset=moments.mean, scale=deviation)


def common_spacing(spacings: Sequence[Size | None]) -> Size | None:
    """The pixel size of all cases, ``None`` where they differ by more than a thousandth, or it is not known."""
    known = [spacing for spacing in spacings if spacing is not None]
    if not known:
        return None
    if len(known) < len(spacings) or not np.allclose(known, known[0], rtol=1e-3, atol=0):
        low, high = np.min(known), np.max(known)
        log.warning(
            f"note: pixel sizes differ between cases ({low:.4g} to {high:.4g} mm, {len(spacings) - len(known)} unknown)"
            "; the store has none. Give --spacing to bring all to one"
        )
        return None
    return known[0]


def _unit(moments: Moments, channels: Sequence[str]) -> str:
    """``HU`` where every channel is called CT and its values can be; ``RAW`` where nobody knows."""
    if not all(map(is_ct, channels)):
        return RAW
    if moments.low >= 0 or moments.high > MOST_HU or moments.high - moments.low <= FEW_HU:
        log.warning(
            f"note: dataset.json says CT, but the values run from {moments.low:g} to {moments.high:g}, which are no "
            "HU; they are stored as raw values of no known unit"
        )
        return RAW
    return "HU"


def splits_of(dataset: Dataset, fractions: Sequence[float], seed: int) -> dict[str, Split]:
    """The split of every case: that of dataset.json, or one drawn by patient.

    Raises:
        InputError: a case without a split, or a patient in two.
    """
    if not dataset.splits:
        patients = split_by_patient([case.patient for case in dataset.cases], fractions, seed)
        if note := empty_split_note(patients, fractions):
            log.warning(note)
        return {case.name: patients[case.patient] for case in dataset.cases}
    seen: dict[str, Split] = {}
    for case in dataset.cases:
        split = dataset.splits.get(case.name)
        if split is None:
            raise InputError(f"the case '{case.name}' is in no split of dataset.json; put it into one")
        if seen.setdefault(case.patient, split) != split:
            raise InputError(
                f"the patient '{case.patient}' is in the splits {seen[case.patient]} and {split}; keep it in one"
            )
    if empty := {"train", "validation"} - set(seen.values()):
        log.warning(f"note: dataset.json puts no case into {' and '.join(sorted(empty))}; a training needs both")
    return dataset.splits


def describe(
    dataset: Dataset,
    root: Path,
    intensity: Intensity,
    spacing_mm: tuple[float, ...] | None,
    how: Consensus | None,
    arguments: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> Description:
    """What the store of a folder says of itself.

    Args:
        dataset: the folder's content.
        root: the folder.
        intensity: how raw values become what a model sees.
        spacing_mm: of pixels or voxels.
        how: readers became one, if they did.
        arguments: of the command, besides these.
        counts: of what was left out.
    """
    of_command: dict[str, Any] = {"command": "prepare folder", "root": root.name.encode("utf-8", "replace").decode()}
    volumes = "volumes, " if arguments.get("dims") == 3 else ""
    return Description(
        title=f"{dataset.title}, {volumes}{counted(len(dataset.readers), 'reader')}"
        + (f" as one ({how})" if how else ""),
        licence=dataset.licence,
        arguments=of_command | dict(arguments) | ({"consensus": how} if how else {}),
        intensity=intensity,
        spacing_mm=spacing_mm,
        classes=dataset.classes,
        notes={"channels": list(dataset.channels), "reading_names": list(dataset.readers), **counts},
        readers=dataset.readers if dataset.persistent and how is None else None,
    )
