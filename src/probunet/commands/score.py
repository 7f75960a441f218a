"""The command ``probunet score``: the metrics on any tool's files, no model needed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from probunet.commands.tables import print_comparisons, print_row_checks, print_scores
from probunet.core.descriptions import read_text
from probunet.core.errors import InputError
from probunet.core.files import check_outputs
from probunet.core.names import refuse_alike
from probunet.core.writing import writing_file
from probunet.evaluation.field_scores import checked_figures
from probunet.evaluation.map_scores import Asked, partners, score_maps, score_on_cluster
from probunet.evaluation.set_scores import SetScores, comparisons
from probunet.io.label_maps import open_maps
from probunet.metrics.consensus import Consensus, needs_itk
from probunet.metrics.consistency import RowCheck, check_row
from probunet.metrics.convention import Convention, Empty

MARKS = (b'"format": "probunet-scores"', b"set,case,patient,")
"""What the files of this command begin with; no others are replaced."""


def score(
    references: Path | None = None,
    samples: Path | None = None,
    n: list[int] | None = None,
    out: Path = Path("scores.json"),
    compare: list[Path] | None = None,
    num_classes: int = 2,
    classes: list[int] | None = None,
    ignore: int | None = None,
    empty: Empty = "zero",
    weights: list[float] | None = None,
    patients: Path | None = None,
    calibration: bool = False,
    also: list[str] | None = None,
    spacing: list[float] | None = None,
    consensus: Consensus | None = None,
    allow_missing: bool = False,
    check: list[str] | None = None,
    cluster: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> None:
    """Score sampled segmentations of any tool against all readers, or check a published row.

    Writes every number with its convention to a JSON file and each image's values to a CSV file beside it,
    and prints a table. Inputs are .npy or .npz files with an array (cases, maps, ...) or folders laid out
    case/map with PNG or NIfTI files; cases are matched by name. The numbers are explained in docs/metrics.md.

    Args:
        references: the readers' label maps; needed except with check.
        samples: the sampled label maps; not needed with compare.
        n: numbers of samples to score with; 1 4 8 16 by default.
        out: the JSON file to write; the CSV file gets the same name.
        compare: two or more sets of samples to score and to test against each other.
        num_classes: labels are 0 to num_classes - 1.
        classes: evaluated classes; the foreground for two classes and all otherwise by default.
        ignore: label of pixels that are left out where any reader has it.
        empty: what a class counts that neither map has: zero (distance 0), one (distance 1) or skip (left
            out).
        weights: probability of each reference, the same for all cases, or numbers in proportion; equal by default.
        patients: CSV file with the columns case and patient; intervals and tests then respect patients.
        calibration: also the calibration of the samples' class frequencies, which takes longer.
        also: further figures, from all samples: thresholds, matching, insight, correlation, areas, surfaces,
            sizes, gaps, or all.
        spacing: mm of a pixel along each axis of the label maps, for lengths in files that do not say
            it.
        consensus: take the majority of the readers, or STAPLE of them (which needs SimpleITK), as the only reference.
        allow_missing: leave out cases that are not in every set, instead of stopping.
        check: D_GED^2 by number of samples, as published (16:.206 100:.162): only say whether such a row is possible.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        InputError: a case without its partner, files that cannot be read, shapes or labels that do not fit.

    Examples:
        probunet score --samples samples.npy --references readers.npy --n 1 4 8 16 --out scores.json
        probunet score --compare ours/ theirs/ --references readers/ --out scores.json
        probunet score --samples samples/ --references readers/ --also areas surfaces
        probunet score --check 16:.206 32:.188 100:.162
    """
    if check:
        if references or samples or compare:
            raise InputError("--check looks at a published row alone; leave --references, --samples and --compare out")
        print_row_checks(_checked_row(check))
        return
    chosen = sorted(set(n or (1, 4, 8, 16)))
    if chosen[0] < 1:
        raise InputError(f"--n {chosen[0]} is no number of samples; give 1 or more")
    paths = ([samples] if samples else []) + list(compare or [])
    if references is None:
        raise InputError("give --references R with the readers' label maps")
    if not paths or (compare is not None and len(paths) < 2):
        raise InputError("give --samples S, or --compare A B with two or more sets of samples")
    if not out.name:
        raise InputError(f"--out '{out}' names no file; give for example scores.json")
    check_outputs([out, out.with_suffix(".csv")], [references, *paths, *([patients] if patients else [])], MARKS)
    figures = checked_figures(also)
    if consensus == "staple":
        needs_itk()
    if consensus and weights:
        raise InputError("weights are of several references, a consensus is one; leave one of them out")
    of_classes = None if classes is None else tuple(classes)
    convention = Convention(num_classes, of_classes, ignore, empty, None if weights is None else tuple(weights))
    readers = open_maps(references, "references")
    sets = dict(zip(_labels(paths), [open_maps(path, "samples") for path in paths], strict=True))
    names, missing = partners([readers, *sets.values()], allow_missing)
    groups = None if patients is None else _patients(patients, names)
    asked = Asked(chosen, convention, calibration, consensus, figures, None if spacing is None else tuple(spacing))
    how = partial(score_maps, asked=asked) if cluster is None else partial(score_on_cluster, cluster, asked=asked)
    scored = {label: how(held, readers, names) for label, held in sets.items()}
    interval: dict[str, Any] = {"confidence": confidence, "seed": seed}
    rows = {label: scores.summaries(groups, **interval) for label, scores in scored.items()}
    tests = comparisons(scored, groups, **interval)
    for label, summaries in rows.items():
        print_scores(label, str(convention), summaries)
    print_comparisons(tests)
    for path, lacking in missing.items():
        print(f"left out: {len(lacking)} cases that {path} lacks")
    result = {
        "format": "probunet-scores",
        "convention": convention.as_json(),
        "options": {"n": chosen, "consensus": consensus, "also": list(figures), "unit": asked.unit, **interval},
        "references": str(references),
        "samples": {label: str(held.path) for label, held in sets.items()},
        "missing_cases": missing,
        "scores": rows,
        "comparisons": tests,
    }
    with writing_file(out) as file, writing_file(out.with_suffix(".csv")) as table:
        file.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
        _write_csv(table, names, groups, scored)


def _checked_row(columns: Sequence[str]) -> list[RowCheck]:
    """The checks of columns such as 16:.206; a value is rounded to the digits that it has."""
    row: dict[int, float] = {}
    rounding: dict[int, float] = {}
    for column in columns:
        n, _, value = column.partition(":")
        try:
            row[int(n)] = float(value)
        except ValueError as error:
            raise InputError(f"--check {column} is not NUMBER:VALUE; write for example 16:.206") from error
        if int(n) in rounding:
            raise InputError(f"--check gives the column of {n} samples twice; give it once")
        rounding[int(n)] = 0.5 * 10 ** -len(value.partition(".")[2])
    return check_row(row, rounding)


def _labels(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    labels = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    if len(set(labels)) < len(labels):
        raise InputError(f"{', '.join(labels)}: the same set is named twice; compare different sets")
    return labels


def _patients(path: Path, names: Sequence[str]) -> list[str]:
    """The patient of every case, out of a table.

    Raises:
        InputError: no such table, a case without a patient or with two, or two patients of whom nobody can say whether
            they are one.
    """
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(read_text(path), newline="")) if row] or [[]]
    except csv.Error as error:
        raise InputError(f"{path} is no table ({error}); save it as CSV") from error
    if any(header.count(column) != 1 for column in ("case", "patient")) or not rows:
        raise InputError(f"{path} needs the header case,patient and a line for each case")
    if long := next((row for row in rows if len(row) > len(header)), None):
        raise InputError(
            f"{path} has a line of {len(long)} values below {len(header)} columns; quote those with commas"
        )
    table = [dict(zip_longest(header, row, fillvalue="")) for row in rows]
    patient: dict[str, str] = {}
    for row in table:
        who = row["patient"].strip()
        if (other := patient.setdefault(row["case"], who)) != who:
            raise InputError(f"{path} gives the case {row['case']} to the patients {other} and {who}; keep one line")
    refuse_alike(patient.values(), "patients", str(path))
    unknown = [name for name in names if not patient.get(name)]
    if unknown:
        raise InputError(f"{path} names no patient for the case {unknown[0]} ({len(unknown)} such cases)")
    return [patient[name] for name in names]


def _write_csv(file: Path, names: Sequence[str], groups: Sequence[str] | None, scored: dict[str, SetScores]) -> None:
    """A line an image; bytes of a name that are no UTF-8 are written as their numbers."""
    with file.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        columns = list(next(iter(scored.values())).columns())
        writer.writerow(["set", "case", "patient", *columns])
        for label, scores in scored.items():
            table = scores.columns()
            for i, name in enumerate(names):
                values = ["" if np.isnan(table[c][i]) else repr(float(table[c][i])) for c in columns]
                writer.writerow([label, name, "" if groups is None else groups[i], *values])
