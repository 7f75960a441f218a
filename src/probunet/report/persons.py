"""Readers by name: does a model that knows them draw like each of them, and as much."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from probunet.drawing.pictures import new_figure
from probunet.report.results import Results
from probunet.report.section import Picture, Section, Table, estimate, style


def section(results: Results) -> Section | None:
    """A table and a picture of every model that was scored by reader; nothing where none knows its readers."""
    known = {name: content["persons"] for name, content in results.evaluations.items() if "persons" in content}
    if not known:
        return None
    text = [
        "Each reader's label map is compared with one hypothesis, the median of those that the model draws in this "
        "reader's place (own), and of those that it draws in nobody's (any). A difference above 0 says that the model "
        "knows something of this reader."
    ]
    text += [_sentence(name, persons) for name, persons in known.items()]
    columns = ["model", "reader", "images", "Dice, own", "Dice, any", "own - any", "p", "drawn (px)", "predicted (px)"]
    rows = [[name, *_row(row)] for name, persons in known.items() for row in persons["readers"]]
    pictures = [
        Picture(
            f"readers_{name}",
            f"{name}: how much each reader draws",
            figure(persons),
            "A point is a reader: mean size of what this person drew on the test images, and of what the model draws "
            "in this person's place. On the line both are the same.",
        )
        for name, persons in known.items()
    ]
    return Section("Does the model draw like each reader?", text, [Table("readers", "", columns, rows)], pictures)


def _row(row: dict[str, Any]) -> list[Any]:
    dice = [round(row["own"], 3), round(row["any"], 3), estimate(row["difference"])]
    return [row["reader"], row["images"], *dice, f"{row['p_value']:.2g}", round(row["drawn"]), round(row["predicted"])]


def _sentence(name: str, persons: dict[str, Any]) -> str:
    mean, low, high = estimate(persons["difference"])
    correlation = persons["area_correlation"]
    text = f"{name}: own - any is {mean:.3f} ({low:.3f} to {high:.3f}) over all readers, p = {persons['p_value']:.2g}."
    if correlation is None:
        return text
    return f"{text} Over readers, predicted and drawn areas correlate with r = {correlation:.2f}."


def figure(persons: dict[str, Any]) -> Figure:
    """Predicted against drawn area, a point a reader."""
    drawing = new_figure(4.2, 4)
    axes = drawing.subplots()
    most = 1.05 * max(max(row["drawn"], row["predicted"]) for row in persons["readers"])
    axes.plot([0, most], [0, most], color="0.7", linewidth=1)
    for i, row in enumerate(persons["readers"]):
        look = style(i)
        axes.plot(row["drawn"], row["predicted"], look["marker"], color=look["color"], label=row["reader"])
    axes.set_xlim(0, most)
    axes.set_ylim(0, most)
    axes.set_xlabel("drawn by the reader (px)")
    axes.set_ylabel("predicted for the reader (px)")
    axes.legend(fontsize=8)
    return drawing
