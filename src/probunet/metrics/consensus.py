"""One label map out of several readers': what most of them say, or what STAPLE takes for likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.io.itk import simpleitk

if TYPE_CHECKING:
    from probunet.metrics.distance import Floats

Consensus: TypeAlias = Literal["majority", "staple"]
"""How readers become one: the class that most of them give, or STAPLE's (Warfield et al. 2004)."""

Labels: TypeAlias = npt.NDArray[np.integer[Any]]
_MOST_STEPS = 1000
"""Of STAPLE's expectation maximisation, which stops by itself long before."""


def consensus_of(labels: Labels, how: Consensus) -> npt.NDArray[np.uint8]:
    """One label map (...) out of those of R readers (R, ...), see ``majority`` and ``staple``.

    Raises:
        InputError: no reader, or SimpleITK is needed and not installed.
    """
    return majority(labels) if how == "majority" else staple(labels)


def majority(labels: Labels, weights: npt.ArrayLike | None = None) -> npt.NDArray[np.uint8]:
    """At every pixel the class that most readers give, the lowest id where they are even.

    Args:
        labels: (R, ...) class ids; a reader has no vote at a pixel with ``IGNORE``.
        weights: (R,) of the votes; equal if not given.

    Returns:
        (...) class ids; ``IGNORE`` where nobody has a vote.

    Raises:
        InputError: there is no reader, values that are no class ids, or weights that are not one of each reader.

    >>> majority(np.array([[0, 1, 1, 255], [0, 0, 1, 255], [1, 1, 2, 255], [1, 0, 2, 255]]))
    array([  0,   0,   1, 255], dtype=uint8)
    """
    labels = _checked(labels)
    shares = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(labels),) or not (np.isfinite(shares) & (shares >= 0)).all() or not shares.any():
        raise InputError(
            f"weights={shares.tolist()} of {len(labels)} readers: give each one a number from 0, not all 0"
        )
    known = labels != IGNORE
    classes = 1 + int(labels.max(where=known, initial=0))
    votes = np.stack([np.tensordot(shares, labels == k, axes=(0, 0)) for k in range(classes)])
    return np.where(known.any(axis=0), votes.argmax(axis=0), IGNORE).astype(np.uint8)


def staple(labels: Labels) -> npt.NDArray[np.uint8]:
    """STAPLE's label map: pixels that have a class with a probability of one half or more.

    Two classes: ``SimpleITK.STAPLE``, more: ``SimpleITK.MultiLabelSTAPLE`` (background where classes are even). All
    pixels that every reader knows take part, so that the result depends on how much background is in the picture.

    Args:
        labels: (R, ...) class ids; pixels with ``IGNORE`` in any of them become ``IGNORE``.

    Raises:
        InputError: no reader, values that are no class ids, STAPLE gives no probability, or SimpleITK is not installed.

    Source: Warfield et al. 2004; Commowick and Warfield 2010 (several classes).
    """
    labels = _checked(labels)
    known = (labels != IGNORE).all(axis=0)
    flat = labels[:, known]
    fused = np.full(known.shape, IGNORE, np.uint8)
    if (flat == flat[0]).all():
        fused[known] = flat[0]
    elif flat.max() == 1:
        probability = _binary_staple(flat == 1).probability
        if np.isnan(probability).any():
            raise InputError("STAPLE finds nothing that these readers have in common; take the majority")
        fused[known] = probability >= 0.5
    else:
        sitk = needs_itk()
        of_all = sitk.MultiLabelSTAPLE([_image(sitk, reader) for reader in flat], 0)
        fused[known] = sitk.GetArrayFromImage(of_all)[0]
    return fused


def staple_quality(marks: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """STAPLE's sensitivity and specificity (R,) of readers' masks (R, ...); NaN where nobody marked anything.

    Of readers who agree everywhere both are 1, as far as there is a mark and a background.

    Raises:
        InputError: SimpleITK is not installed.
    """
    if (marks == marks[0]).all():
        both = [np.full(len(marks), 1.0 if some else np.nan) for some in (marks.any(), not marks.all())]
        return both[0], both[1]
    fused = _binary_staple(marks.reshape(len(marks), -1))
    return fused.sensitivity, fused.specificity


def needs_itk() -> Any:
    """SimpleITK, which STAPLE is taken from.

    Raises:
        InputError: it is not installed.
    """
    return simpleitk("STAPLE")


@dataclass(frozen=True)
class _Staple:
    """Probability of the mark (P,), and what it takes each reader for."""

    probability: Floats
    sensitivity: Floats
    specificity: Floats


def _binary_staple(marks: npt.NDArray[np.bool_]) -> _Staple:
    sitk = needs_itk()
    method = sitk.STAPLEImageFilter()
    method.SetForegroundValue(1.0)
    method.SetMaximumIterations(_MOST_STEPS)
    probability = method.Execute([_image(sitk, reader) for reader in marks])
    return _Staple(
        sitk.GetArrayFromImage(probability)[0],
        np.array(method.GetSensitivity()),
        np.array(method.GetSpecificity()),
    )


def _image(sitk: Any, labels: npt.NDArray[Any]) -> Any:
    """A row of pixels as an image: where a pixel lies means nothing to STAPLE."""
    return sitk.GetImageFromArray(labels[None].astype(np.uint8))


def _checked(labels: Labels) -> Labels:
    if np.ma.is_masked(labels):
        raise InputError(f"the readers are a masked array, whose mask would be lost; fill it with {IGNORE}")
    labels = np.asarray(labels)
    if not len(labels):
        raise InputError("there is no reader whose label map could be taken")
    if labels.dtype.kind not in "bui" or (labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= IGNORE):
        raise InputError(
            f"the readers' label maps hold {labels.dtype} values from {labels.min()} to {labels.max()}; class ids are "
            f"whole numbers from 0, and {IGNORE} where nothing is known"
        )
    return labels
