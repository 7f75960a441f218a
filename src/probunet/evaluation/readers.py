"""The readers of a data set, one by one: how much each marks, how near each is to the others, and what is striking."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from probunet.core.console import progress_bar
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.types import IGNORE
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.read_cases import ReadCase, open_source
from probunet.metrics.consensus import Consensus, needs_itk
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats, pairwise_distance
from probunet.metrics.reader_quality import Finding, outliers, reader_quality
from probunet.metrics.significance import Groups, Interval, bootstrap_interval
from probunet.metrics.values import defined_mean

KEPT = 2
"""Cases of each kind that are kept to be drawn."""


@dataclass
class Rows:
    """Numbers of every reading of one class: lists that grow case by case."""

    sensitivity: list[Floats] = field(default_factory=list)
    specificity: list[Floats] = field(default_factory=list)
    log_ratio: list[Floats] = field(default_factory=list)
    empty: list[Floats] = field(default_factory=list)
    alone: list[Floats] = field(default_factory=list)


@dataclass(frozen=True)
class Striking:
    """A reading that is not like the others, with its case and its class."""

    case: str
    label: int
    finding: Finding


@dataclass
class ReaderStudy:
    """All that is known of the readers of a data set; (cases, R) arrays hold NaN where a reader did not look.

    Attributes:
        title: of the data.
        readers: names of the R readers.
        classes: names, background first.
        reference: what sensitivity and specificity are measured against.
        patients: of every case.
        volumes: whether there are cases of several slices.
        rows: by class id.
        distances: (R, R) of every case.
        striking: readings that are not like the others.
        chosen: cases to draw: typical ones first, then striking ones.
    """

    title: str
    readers: tuple[str, ...]
    classes: tuple[str, ...]
    reference: Consensus
    patients: list[str] = field(default_factory=list)
    volumes: bool = False
    rows: dict[int, Rows] = field(default_factory=dict)
    distances: list[Floats] = field(default_factory=list)
    striking: list[Striking] = field(default_factory=list)
    chosen: list[ReadCase] = field(default_factory=list)

    @property
    def convention(self) -> Convention:
        """How distances are measured."""
        return Convention(len(self.classes), ignore=IGNORE)

    def add(self, case: ReadCase) -> None:
        """Count a case; one with a single reader says nothing of any."""
        looked, size = case.present, len(self.readers)
        if len(looked) < 2:
            return
        labels = case.labels[looked]
        self.patients.append(case.patient)
        self.volumes |= labels.shape[1] > 1
        between = np.full((size, size), np.nan)
        between[np.ix_(looked, looked)] = pairwise_distance(labels[None], None, self.convention, workers=1)[0]
        np.fill_diagonal(between, np.nan)
        self.distances.append(between)
        striking: list[Striking] = []
        for label in range(1, len(self.classes)):
            quality = reader_quality(labels, label, self.reference)
            rows = self.rows.setdefault(label, Rows())
            for name in vars(rows):
                whole = np.full(size, np.nan)
                whole[looked] = getattr(quality, name)
                getattr(rows, name).append(whole)
            for finding in outliers(labels, label):
                other = None if finding.other is None else int(looked[finding.other])
                named = Finding(finding.kind, int(looked[finding.reader]), other, finding.value)
                striking.append(Striking(case.name, label, named))
        self._choose(case, striking)
        self.striking += striking

    def _choose(self, case: ReadCase, striking: list[Striking]) -> None:
        """Keep a few cases of every kind: those without anything striking, and those with."""
        before = Counter(s.finding.kind for s in self.striking if s.case in {kept.name for kept in self.chosen})
        kinds = {s.finding.kind for s in striking} - {"copy"}
        if any(before[kind] < KEPT for kind in kinds) or (not kinds and self._plain < KEPT):
            self.chosen.append(case)
            self._plain += not kinds

    _plain: int = 0

    def table(self, label: int, seed: int = 0) -> list[dict[str, Any]]:
        """One row for each reader, with 95 % intervals, patients drawn as a whole."""
        rows, groups = self.rows[label], independent_groups(self.patients)[0]
        distance = defined_mean(np.stack(self.distances))
        table = []
        for r, reader in enumerate(self.readers):
            empty = np.stack(rows.empty)[:, r]
            row: dict[str, Any] = {"reader": reader, "readings": int((~np.isnan(empty)).sum())}
            for name in ("sensitivity", "specificity"):
                row[name] = _estimate(np.stack(getattr(rows, name))[:, r], groups, seed)
            ratio = _estimate(np.stack(rows.log_ratio)[:, r], groups, seed)
            row["log_area_ratio"] = ratio
            row["area_ratio"] = None if ratio is None else {k: float(np.exp(ratio[k])) for k in ("mean", "low", "high")}
            row["distance"] = _estimate(distance[:, r], groups, seed)
            row["empty"] = _estimate(empty, groups, seed)
            row["empty_where_all_others_marked"] = int(np.nansum(np.stack(rows.alone)[:, r]))
            table.append(row)
        return table

    def mean_distances(self) -> Floats:
        """(R, R) mean distance between any two readers; NaN on the diagonal and for two who never met."""
        return defined_mean(np.moveaxis(np.stack(self.distances), 0, -1))

    def copies(self) -> list[dict[str, Any]]:
        """Pairs of readers with equal readings, in how many cases, of those in which both marked something."""
        counted = Counter(
            (s.label, s.finding.reader, s.finding.other) for s in self.striking if s.finding.other is not None
        )
        pairs = []
        for (label, i, j), equal in sorted(counted.items(), key=lambda item: -item[1]):
            assert j is not None
            empty = np.stack(self.rows[label].empty)
            both = int(((empty[:, i] == 0) & (empty[:, j] == 0)).sum())
            names = [self.readers[i], self.readers[j]]
            pairs.append({"class": self.classes[label], "readers": names, "equal": equal, "of": both})
        return pairs

    def as_json(self, seed: int = 0) -> dict[str, Any]:
        """All numbers as plain data."""
        distances = self.mean_distances()
        return {
            "format": "probunet-readers",
            "title": self.title,
            "cases": len(self.patients),
            "patients": len(set(self.patients)),
            "readers": list(self.readers),
            "reference": REFERENCE[self.reference],
            "size": "volume" if self.volumes else "area",
            "convention": self.convention.as_json(),
            "grouped_by": independent_groups(self.patients)[1],
            "classes": [{"class": self.classes[k], "readers": self.table(k, seed)} for k in sorted(self.rows)],
            "distances": [[None if np.isnan(d) else float(d) for d in row] for row in distances],
            "copies": self.copies(),
            "outliers": [
                {
                    "case": s.case,
                    "class": self.classes[s.label],
                    "reader": self.readers[s.finding.reader],
                    "kind": s.finding.kind,
                    "value": s.finding.value,
                }
                for s in self.striking
                if s.finding.kind != "copy"
            ],
        }


REFERENCE: dict[Consensus, str] = {
    "majority": "what more than half of the other readers marked",
    "staple": "STAPLE of all readers, case by case",
}
"""In words, what sensitivity and specificity are measured against."""


def study_readers(data: Path, reference: Consensus = "majority") -> ReaderStudy:
    """Read a prepared store, or a folder for 'prepare folder', whole and compare its readers.

    In a store every case is one picture or one slice; in a folder it is a whole picture or volume.

    Args:
        data: the store or the folder.
        reference: what sensitivity and specificity are measured against.

    Raises:
        InputError: readers who are not persons, a file that cannot be read, no case with two readers, or STAPLE
            without SimpleITK.
    """
    if reference == "staple":
        needs_itk()
    source = open_source(data)
    study = ReaderStudy(source.title, source.readers, source.classes, reference)
    with progress_bar() as bar:
        for case in bar.track(source.cases, total=source.count, description=f"reading {shown(data)}"):
            study.add(case)
    if not study.patients:
        raise InputError(f"{shown(data)} has no case that two readers looked at, so that none can be compared")
    return study


def _estimate(values: Floats, groups: Groups, seed: int) -> dict[str, Any] | None:
    """Mean with its interval and the number of readings; ``None`` where no reading has a value."""
    if np.isnan(values).all():
        return None
    interval: Interval = bootstrap_interval(values, groups, seed=seed)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high, "readings": interval.n}
