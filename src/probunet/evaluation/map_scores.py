"""Scores of label maps on disk: cases that belong together, read and scored a few at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from probunet.core.cluster import in_shards
from probunet.core.errors import InputError
from probunet.core.shards import Shard
from probunet.core.types import IGNORE
from probunet.evaluation.field_scores import Figure, field_scores
from probunet.evaluation.set_scores import SetScores, score_batch
from probunet.io.label_maps import LabelMaps, MapSet, maps_of_case, open_maps, sizes_of_case
from probunet.metrics.consensus import Consensus, consensus_of
from probunet.metrics.convention import Convention
from probunet.metrics.distance import pairwise_distances

_BATCH_BYTES = 1 << 26
Spacing = tuple[float, ...] | None


@dataclass
class Asked:
    """What is measured.

    Attributes:
        n: numbers of samples, ascending.
        convention: what is compared, and how.
        calibrated: also the calibration of the samples' frequencies.
        consensus: what becomes of the references; ``None`` keeps them all.
        figures: beside the usual ones.
        spacing: mm of a pixel along each axis; what the files say if not given.
        unit: of lengths, known after the first case: ``"mm"`` or ``"px"``; ``None`` where there are none.
    """

    n: list[int]
    convention: Convention
    calibrated: bool = False
    consensus: Consensus | None = None
    figures: tuple[Figure, ...] = ()
    spacing: Spacing = None
    unit: str | None = None


def partners(sets: Sequence[MapSet], allow_missing: bool) -> tuple[list[str], dict[str, list[str]]]:
    """Names that all sets have, in the order of the references, and what each set lacks.

    Raises:
        InputError: a set lacks a case, no case is left, or some sets have names and others have not.
    """
    if len({held.has_names for held in sets}) > 1:
        unnamed = next(held for held in sets if not held.has_names)
        raise InputError(f"{unnamed.path} has no case names but others have; save it as .npz with an array 'names'")
    every = list(dict.fromkeys(name for held in sets for name in held.names))
    missing = {}
    for held in sets:
        held_names = set(held.names)
        lacking = [name for name in every if name not in held_names]
        if lacking:
            missing[str(held.path)] = lacking
    if missing and not all(held.has_names for held in sets):
        counts = ", ".join(f"{held.path} has {len(held.names)} cases" for held in sets)
        raise InputError(f"arrays without names are matched by position, but {counts}; add an array 'names'")
    if missing and not allow_missing:
        path, lacking = next(iter(missing.items()))
        named = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        raise InputError(f"{path} lacks the case {named}; add it, or leave it out with --allow-missing")
    out = {name for lacking in missing.values() for name in lacking}
    names = [name for name in sets[0].names if name not in out]
    if not names:
        raise InputError(f"{' and '.join(str(held.path) for held in sets)} have no case in common")
    return names, missing


@dataclass
class _Batch:
    names: list[str]
    samples: list[LabelMaps]
    references: list[LabelMaps]
    spacing: Spacing = None


def score_maps(samples: MapSet, references: MapSet, names: Sequence[str], asked: Asked) -> SetScores:
    """Score the samples of every case against its references.

    Raises:
        InputError: files that cannot be read, shapes or labels that do not fit, too few samples, or pixel sizes that
            some files say and others do not.
    """
    scores = SetScores()
    for batch in _batches(samples, references, names, asked):
        if asked.n[0] < 1 or asked.n[-1] > len(batch.samples[0]):
            raise InputError(
                f"{samples.place(batch.names[0])} has {len(batch.samples[0])} samples, too few for "
                f"--n {' '.join(map(str, asked.n))}; give numbers from 1 to {len(batch.samples[0])}"
            )
        try:
            how = asked.consensus
            read = [r if how is None else _as_one(r, how, asked.convention) for r in batch.references]
            drawn, readers = np.stack(batch.samples), np.stack(read)
            scored = score_batch(drawn, readers, asked.n, asked.convention, asked.calibrated)
            if asked.figures:
                scored.values |= field_scores(drawn, readers, asked.convention, asked.figures, batch.spacing)
            scores.add(scored)
        except InputError as error:
            raise _with_place(error, batch, samples, references, asked.convention) from error
    return scores


@dataclass(frozen=True)
class _Share:
    """Everything that a process needs to know to score its share of the cases: it opens the files itself."""

    samples: Path
    references: Path
    names: tuple[str, ...]
    asked: Asked

    def __call__(self, shard: Shard) -> tuple[SetScores, str | None]:
        """Score cases that follow each other; give the unit of their lengths, too."""
        first, last = (number * len(self.names) // shard.count for number in (shard.index, shard.index + 1))
        if first == last:
            return SetScores(), None
        sets = open_maps(self.samples, "samples"), open_maps(self.references, "references")
        asked = replace(self.asked, unit=None)
        return score_maps(*sets, self.names[first:last], asked), asked.unit


def score_on_cluster(
    address: str, samples: MapSet, references: MapSet, names: Sequence[str], asked: Asked
) -> SetScores:
    """Do the same as :func:`score_maps` on a Dask cluster, to the last digit.

    Raises:
        InputError: as there, or there is no cluster.
    """
    share = _Share(samples.path.absolute(), references.path.absolute(), tuple(names), asked)
    shares = in_shards(address, f"scoring {samples.path.name}", share)
    units = {unit for _, unit in shares if unit} | ({asked.unit} if asked.unit else set())
    if len(units) > 1:
        raise InputError(
            f"{samples.path} has cases in mm and cases in px: not all files say how large a pixel is; give it with "
            "--spacing"
        )
    asked.unit = next(iter(units), None)
    return SetScores([batch for scores, _ in shares for batch in scores.batches])


def _batches(samples: MapSet, references: MapSet, names: Sequence[str], asked: Asked) -> Iterator[_Batch]:
    """Cases of equal shape and pixel size together, so many that a few tens of megabytes are in memory."""
    batch, alike, size = _Batch([], [], []), None, 0
    for name in names:
        s, r = maps_of_case([samples, references], name)
        spacing = _spacing(samples, references, name, s, asked)
        if batch.names and ((s.shape, r.shape, spacing) != alike or size > _BATCH_BYTES):
            yield batch
            batch, size = _Batch([], [], []), 0
        alike, size = (s.shape, r.shape, spacing), size + s.nbytes + r.nbytes
        batch.names.append(name)
        batch.samples.append(s)
        batch.references.append(r)
        batch.spacing = spacing
    yield batch


def _spacing(samples: MapSet, references: MapSet, name: str, maps: LabelMaps, asked: Asked) -> Spacing:
    """Of a case, where lengths are asked for: as given, or as its files say, which may not contradict each other."""
    needed = bool({"areas", "surfaces", "sizes"} & set(asked.figures))
    if not needed and asked.spacing is None:
        return None
    sizes = sizes_of_case([samples, references], name)
    known = sorted(size for size in sizes if size is not None)
    said = known[0] if known else None
    if not _alike(known) or (said and None in sizes and asked.spacing is None):
        raise InputError(
            f"{samples.place(name)} and its references do not all say one size of a pixel; save them with the same, or "
            "give it with --spacing"
        )
    spacing = asked.spacing or said
    if said and asked.spacing and len(said) == len(asked.spacing) and not np.allclose(said, asked.spacing, rtol=0.01):
        words = " ".join(f"{mm:g}" for mm in said)
        raise InputError(
            f"{samples.place(name)} says that its pixels have {words} mm; leave --spacing out, or correct it"
        )
    if spacing is not None and (len(spacing) != maps.ndim - 1 or not all(0 < mm < math.inf for mm in spacing)):
        words = " ".join(map(str, spacing))
        raise InputError(
            f"{samples.place(name)} has maps with {maps.ndim - 1} axes, which the spacing {words} does not fit; give "
            "one size in mm for each axis"
        )
    if not needed:
        return None
    unit = "px" if spacing is None else "mm"
    if asked.unit not in (None, unit):
        raise InputError(
            f"{samples.place(name)} is in {unit}, cases before it in {asked.unit}: not all files say how large a pixel "
            "is; give it with --spacing"
        )
    asked.unit = unit
    return spacing


def _alike(sizes: Sequence[tuple[float, ...]]) -> bool:
    """Whether sizes of a pixel are the same, but for rounding."""
    return all(len(size) == len(sizes[0]) and np.allclose(size, sizes[0], rtol=1e-3) for size in sizes)


def _as_one(references: LabelMaps, how: Consensus, convention: Convention) -> LabelMaps:
    """The consensus (1, ...) of references (R, ...), which keeps pixels that count nowhere."""
    wrong = (references < 0) | (references >= convention.num_classes)
    if (wrong & (references != convention.ignore)).any():
        pairwise_distances(references[None, :0], references[None], convention)  # says what is wrong
    agreed = consensus_of(np.where(wrong, IGNORE, references), how)[None]
    return agreed if convention.ignore is None else np.where(agreed == IGNORE, convention.ignore, agreed)


def _with_place(
    error: InputError, batch: _Batch, samples: MapSet, references: MapSet, convention: Convention
) -> InputError:
    """The same error, naming the case that caused it."""
    for name, s, r in zip(batch.names, batch.samples, batch.references, strict=True):
        try:
            pairwise_distances(s[None], r[None], convention)
        except InputError as single:
            return InputError(f"{samples.place(name)} against {references.place(name)}: {single}")
    return error
