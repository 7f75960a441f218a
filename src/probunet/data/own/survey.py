"""What files hold, before a store is made of them: the type of the values, their map, the pixel size, the splits."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import MOST_HU, RAW, Intensity
from probunet.core.words import counted
from probunet.data.manifest import Split
from probunet.data.own.folder import Dataset, is_ct
from probunet.data.prepare import Description
from probunet.data.splits import empty_split_note, split_by_patient
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


def store_type(types: Collection[np.dtype[Any]], largest: int, title: str) -> np.dtype[Any]:
    """The type that holds every value of all files as it is.

    Args:
        types: of the files.
        largest: of the whole numbers among them, without their sign.
        title: of the set, for the message.

    Raises:
        InputError: there is none that a store can have.
    """
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


def tell_unplaced(names: Sequence[str], cases: int) -> None:
    """Say which of so many cases do not say where they lie, if others do: these are turned to one orientation."""
    if 0 < len(names) < cases:
        log.warning(
            f"note: {counted(len(names), 'case')} do not say where they lie ({', '.join(names[:3])[:100]}), as "
            "others do; they stay as they are stored, and may be turned against the others"
        )


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


def intensity_of(
    dtype: np.dtype[Any], moments: Moments, channels: Sequence[str], never_below_0: Sequence[str]
) -> Intensity:
    """Grey levels of pictures as always, all else by mean and standard deviation; CT in HU where it can be.

    Args:
        dtype: of the store.
        moments: of the values.
        channels: their names.
        never_below_0: names of the cases without a value below 0, which CT has wherever there is air or fat.

    Raises:
        InputError: values that no network can take.
    """
    if dtype == np.uint8:
        if 0 <= moments.low < moments.high <= 1:
            log.warning("note: the images hold 0 and 1 alone, which are all but black among grey levels of 0 to 255")
        return Intensity("grey level", offset=128, scale=64)
    deviation = float(np.sqrt(moments.squares / moments.number)) or 1.0
    if not (abs(moments.mean) < 1e12 and 1e-12 < deviation < 1e12):
        raise InputError(f"the images have the mean {moments.mean:.3g} and deviation {deviation:.3g}; rescale them")
    unit = _unit(moments, channels)
    if unit == "HU" and never_below_0:
        log.warning(
            f"note: {counted(len(never_below_0), 'CT case')} have no value below 0 "
            f"({', '.join(never_below_0[:3])[:100]}), where others have; see that they are in HU, not shifted by 1,024"
        )
    return Intensity(unit, offset=moments.mean, scale=deviation)


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
