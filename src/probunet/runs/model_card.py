"""A model card for people, beside what a program reads: what a model draws, from which data, how well, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CARD = "README.md"
PURPOSE = (
    "It draws plausible segmentations, so that disagreement between readers can be seen and measured. **It is not for "
    "diagnosis**: nobody has tested it for any decision about care, on any scanner, population or workflow."
)
LIMITS = (
    "Figures hold for data like that above; another scanner, protocol, population or other readers change them in a "
    "way that nobody has measured here. Frequencies of hypotheses are those of the training readers."
)


def model_card(described: Mapping[str, Any], title: str, use: str) -> str:
    """The card as Markdown, written from a description of a model.

    Args:
        described: what ``probunet.json`` holds.
        title: of the card.
        use: lines that show how it is used, as Markdown.
    """
    name = described["model"]["class"].rpartition(".")[2]
    parts = [
        f"# {_plain(title)}",
        f"A {_plain(name)} (probunet): an image in, a distribution over segmentations out. {PURPOSE}",
        f"## Use\n\n{use}",
        "## What it takes\n\n" + "\n".join(f"- {line}" for line in _input(described)),
        "## Data\n\n" + "\n".join(f"- {line}" for line in _data(described)),
        "## Figures\n\n" + _figures(described.get("evaluation")),
        f"## Limits\n\n{LIMITS}",
        f"## Licence\n\n{_plain(described.get('licence', 'not given'))}",
    ]
    return "\n\n".join(parts) + "\n"


def _input(described: Mapping[str, Any]) -> list[str]:
    given = described["input"]
    crop, spacing = given.get("crop"), given.get("spacing_mm")
    sides = "x".join(map(str, crop)) if isinstance(crop, list) else crop
    unit = given["intensity"].get("unit") or "not given"
    mm = " x ".join(f"{side:g}" for side in spacing) + " mm" if spacing else "unknown"
    return [
        f"values: {_plain(unit)}",
        f"pixel size of the training: {mm}; crop of the training: {sides} px",
        f"classes: {', '.join(_plain(name) for name in given['classes'])}",
    ]


def _data(described: Mapping[str, Any]) -> list[str]:
    simulated = described["input"].get("simulated")
    kind = {True: "simulated images", False: "real images", None: "not known whether simulated"}[simulated]
    lines = [f"trained on: {_plain(described['input'].get('title', 'not given'))} ({kind})"]
    if patients := described.get("patients"):
        counts = ", ".join(f"{len(names):,} for {split}" for split, names in patients.items())
        lines.append(f"patients: {counts}; `probunet.json` holds checksums of their names, and none of them")
    training = described.get("training") or {}
    counted = [f"{training[key]:,} {key}" for key in ("steps", "parameters") if isinstance(training.get(key), int)]
    return [*lines, ", ".join(counted)] if counted else lines


def _figures(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return "It was not evaluated before it was exported."
    if not {"data", "ged2", "convention"} <= set(evaluation):
        return "They are in the description beside this card."
    data = evaluation["data"]
    rows = [
        f"| D_GED^2, {n} samples | {value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f}) |"
        for n, value in evaluation["ged2"].items()
        if value["mean"] is not None
    ]
    where = (
        f"{data['images']:,} images of {data['patients']:,} patients, split {data['split']}, {_plain(data['title'])}"
    )
    return "\n".join(
        [
            f"On {where}; 95 % intervals; {_plain(evaluation['convention']['words'])}. Lower is better.",
            "",
            "| | mean (interval) |",
            "|---|---|",
            *rows,
        ]
    )


def _plain(text: object) -> str:
    """Text of a description as it can stand in a line of Markdown: nothing in it is markup."""
    line = " ".join(str(text).split())[:300]
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in line if letter.isprintable())
