"""The page about the readers of a data set: who marks more, who is near the others, what is striking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from probunet.drawing.pictures import new_figure, show
from probunet.drawing.pixels import READER, as_rgb, class_palette, paint, titled_mosaic
from probunet.evaluation.read_cases import ReadCase
from probunet.evaluation.readers import REFERENCE, ReaderStudy
from probunet.report.rendering import DPI, write_page
from probunet.report.section import COLOURS, Estimate, Picture, Section, Table

LISTED = 40
"""Outliers in the table of the page; the JSON file has all."""
COLUMNS = 6
WORDS = {
    "elsewhere": "overlaps nothing that anybody else marked",
    "far": "IoU with the others, as a share of theirs among each other",
    "size": "times the largest (above 1) or the smallest (below 1) of the others",
}


def write_readers(folder: Path, study: ReaderStudy, content: dict[str, Any]) -> None:
    """Write readers.html with its tables and pictures into a folder.

    Args:
        folder: that exists.
        study: of the readers.
        content: its numbers, as ``as_json`` gives them.

    Raises:
        InputError: the folder cannot be written.
    """
    write_page(
        folder / "readers.html",
        "readers.html",
        f"Readers of {study.title}",
        [_quality(study, content), _between(study), _striking(study, content), _cases(study)],
        data=study.title,
        cases=content["cases"],
        patients=content["patients"],
        readers=len(study.readers),
        convention=str(study.convention),
        reference=REFERENCE[study.reference],
        size=content["size"],
        grouped_by=content["grouped_by"],
    )


def _quality(study: ReaderStudy, content: dict[str, Any]) -> Section:
    tables, pictures = [], []
    size = content["size"]
    for entry in content["classes"]:
        rows = [
            [
                row["reader"],
                row["readings"],
                *(_estimate(row[key]) for key in ("area_ratio", "sensitivity", "specificity", "distance", "empty")),
                row["empty_where_all_others_marked"],
            ]
            for row in entry["readers"]
        ]
        heads = ["reader", "readings", f"{size}, times the others'", "sensitivity", "specificity"]
        heads += ["distance to the others", "share empty", "empty where all others marked"]
        name = f"readers_{_letters(entry['class'])}"
        tables.append(Table(name, entry["class"] if len(content["classes"]) > 1 else "", heads, rows))
        pictures.append(_ratios(entry, size, name))
    return Section("Who marks more, and who marks what the others mark?", [], tables, pictures)


def _ratios(entry: dict[str, Any], size: str, name: str) -> Picture:
    """Each reader's ratio with its interval."""
    rows = [row for row in entry["readers"] if row["area_ratio"]]
    figure = new_figure(7, 0.8 + 0.28 * max(len(rows), 1))
    axis = figure.subplots()
    for y, row in enumerate(reversed(rows)):
        ratio = row["area_ratio"]
        axis.plot([ratio["low"], ratio["high"]], [y, y], color=COLOURS[0], lw=2)
        axis.plot(ratio["mean"], y, "o", color=COLOURS[0], ms=5)
    axis.axvline(1, color="0.6", lw=1)
    axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), [row["reader"][:24] for row in reversed(rows)], fontsize=8)
    ends = [row["area_ratio"][end] for row in rows for end in ("low", "high")] + [0.8, 1.25]
    ticks = [tick for tick in (0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10) if min(ends) * 0.9 <= tick <= max(ends) * 1.1]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel(f"{size} of {entry['class']}, times the mean of the others", fontsize=9)
    return Picture(
        f"{name}_{size}", f"{size.capitalize()} of each reader", figure, "Points: means; lines: 95 % intervals."
    )


def _between(study: ReaderStudy) -> Section:
    distances = study.mean_distances()
    names = [reader[:18] for reader in study.readers]
    figure = new_figure(1.8 + 0.42 * len(names), 1.4 + 0.42 * len(names))
    axis = figure.subplots()
    axis.imshow(distances, vmin=0, cmap="viridis")
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    middle = np.nanmax(distances) / 2
    for (i, j), value in np.ndenumerate(distances):
        if not np.isnan(value):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color="k" if value > middle else "w")
    rows = [
        [name, *(None if np.isnan(d) else float(d) for d in row)]
        for name, row in zip(study.readers, distances, strict=True)
    ]
    table = Table("distances", "", ["reader", *study.readers], rows, shown=False)
    caption = "Mean 1 - IoU of any two readers over the cases that both looked at."
    return Section("Who draws like whom?", [], [table], [Picture("distances", "Distances", figure, caption)])


def _striking(study: ReaderStudy, content: dict[str, Any]) -> Section:
    text = [
        f"{pair['readers'][0]} and {pair['readers'][1]} are equal bit for bit in {pair['equal']} of the {pair['of']} "
        f"cases in which both marked {pair['class']}."
        for pair in content["copies"]
    ]
    strange = content["outliers"]
    if not strange:
        text.append("No reading lies elsewhere than the others, far from them, or differs much in size.")
    elif len(strange) > LISTED:
        text.append(
            f"The first {LISTED} of {len(strange)} readings that are not like the others; all are in readers.json."
        )
    rows = [
        [f["case"], f["class"], f["reader"], WORDS[f["kind"]], "" if f["value"] is None else f"{f['value']:.2f}"]
        for f in sorted(strange, key=lambda f: list(WORDS).index(f["kind"]))
    ]
    columns = ["case", "class", "reader", "why", "value"]
    tables = [Table("outliers", "", columns, rows[:LISTED])] if rows else []
    return Section("Which readings are not like the others?", text, tables)


def _cases(study: ReaderStudy) -> Section:
    pictures = [_case(study, case, f"case_{i + 1}") for i, case in enumerate(study.chosen)]
    return Section("Some cases", ["Cases without anything striking, and cases of every kind of outlier."], [], pictures)


def _case(study: ReaderStudy, case: ReadCase, name: str) -> Picture:
    """What each reader marked, on the slice on which most of it lies."""
    marks = (case.labels > 0) & (case.labels < len(study.classes))
    index = int(marks.sum(axis=(0, 2, 3)).argmax())
    image, palette = np.asarray(case.image[index]), class_palette(len(study.classes), ()).copy()
    palette[1] = READER if len(study.classes) == 2 else palette[1]
    striking = {s.finding.reader: s.finding.kind for s in study.striking if s.case == case.name}
    tiles = [("image", as_rgb(image))]
    for r in case.present:
        reading, words = case.labels[r, index], [study.readers[r]]
        words += [striking[int(r)]] if int(r) in striking else []
        words += ["empty"] if not marks[r].any() else []
        tiles.append((": ".join(words), paint(image, reading, palette)))
    sheet = titled_mosaic(tiles, min(COLUMNS, len(tiles)))
    height, width = sheet.shape[:2]
    figure = new_figure(width / DPI, height / DPI, automatic=False)  # a pixel of the sheet is one of the picture
    show(figure.add_axes((0, 0, 1, 1)), sheet)
    where = f", slice {index} of {len(case.image)}" if len(case.image) > 1 else ""
    return Picture(name, case.name, figure, f"{case.name} of {case.patient}{where}.")


def _estimate(value: dict[str, Any] | None) -> Estimate:
    return (None, None, None) if value is None else (value["mean"], value["low"], value["high"])


def _letters(text: str) -> str:
    """A part of a file name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text)[:40]
