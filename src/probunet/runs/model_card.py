"""A model card for people, beside what a program reads: what a model draws, from which data, how well, its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from probunet.core.words import by, counted
from probunet.data.manifest import LEARNED_FROM
from probunet.runs.description import START
from probunet.runs.evaluated import Passed

CARD = "README.md"
PURPOSE = "It draws plausible segmentations, so that disagreement between readers can be seen and measured."
WARNING = "It is not for diagnosis"
UNTESTED = "nobody has tested it for any decision about care, on any scanner, population or workflow."
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
    opening = f"A {_escaped(name)} (probunet): an image in, a distribution over segmentations out."
    parts = [
        f"# {_escaped(_short(title))}",
        f"{opening} {PURPOSE} **{WARNING}**: {UNTESTED}",
        f"## Use\n\n{use}",
        "## What it takes\n\n" + _list(_input(described)),
        "## Data\n\n" + _list(_data(described)),
        "## Figures\n\n" + _figures(described.get("evaluation")),
        f"## Limits\n\n{LIMITS}",
        f"## Licence\n\n{_escaped(_licence(described))}",
    ]
    return "\n\n".join(parts) + "\n"


def model_facts(described: Mapping[str, Any]) -> dict[str, list[str]]:
    """The same as lines of plain text by title, for a page.

    Args:
        described: what is known of a model: ``input``, and where they are known ``patients``, ``training``,
            ``evaluation`` and ``licence``.
    """
    figures = described.get("evaluation")
    lines = [f"D²_GED, {words}: {value}" for words, value in _scores(figures)] if _is_whole(figures) else []
    return {
        "What it is for": [PURPOSE, f"{WARNING}: {UNTESTED}"],
        "What it takes": _input(described),
        "Data": _data(described),
        "Figures": [_where(figures), *lines] if figures is not None and lines else ["It was not evaluated."],
        "Limits": [LIMITS],
        "Licence": [_licence(described)],
    }


def _licence(described: Mapping[str, Any]) -> str:
    return _short(described.get("licence", "not given"))


def _list(lines: list[str]) -> str:
    return "\n".join(f"- {_escaped(line)}" for line in lines)


def _input(described: Mapping[str, Any]) -> list[str]:
    given = described["input"]
    crop, spacing = given.get("crop"), given.get("spacing_mm")
    sides = by(crop) if isinstance(crop, list) else crop
    unit = given["intensity"].get("unit") or "not given"
    mm = " x ".join(f"{side:g}" for side in spacing) + " mm" if spacing else "unknown"
    return [
        f"values: {_short(unit)}",
        f"pixel size of the training: {mm}; crop of the training: {sides} px",
        f"classes: {', '.join(_short(name) for name in given['classes'])}",
    ]


def _data(described: Mapping[str, Any]) -> list[str]:
    simulated = described["input"].get("simulated")
    kind = {True: "simulated images", False: "real images", None: "not known whether simulated"}[simulated]
    lines = [f"trained on: {_short(described['input'].get('title', 'not given'))} ({kind})"]
    if start := described.get("start"):
        lines.append(f"began with the weights of {_short(start['model'])}")
    if patients := described.get("patients"):
        of_start = {name: f"{split} of the weights that it began with" for split, name in START.items()}
        counts = ", ".join(f"{len(names):,} for {of_start.get(split, split)}" for split, names in patients.items())
        lines.append(f"patients: {counts}; an exported model holds checksums of their names, and none of them")
    if names := ((described.get("model") or {}).get("arguments") or {}).get("reader_names"):
        lines.append(f"readers whom it knows by name: {', '.join(_short(name) for name in names)}")
    for learned in (described.get("data") or {}).get("adapted", ()):
        taught = f"{_short(learned['reader'])} from {counted(int(learned['readings']), 'reading')}"
        lines.append(f"taught afterwards: {taught} of {_short(learned['data'])}")
    training = described.get("training") or {}
    numbers = [f"{training[key]:,} {key}" for key in ("steps", "parameters") if isinstance(training.get(key), int)]
    return [*lines, ", ".join(numbers)] if numbers else lines


def _is_whole(evaluation: Mapping[str, Any] | None) -> bool:
    """Whether it is that of a run, in the form that it was written in; facts of another form are listed as they are."""
    try:
        Passed.model_validate(evaluation)
    except ValidationError:
        return False
    return True


def _scores(evaluation: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Number of samples, and mean with interval."""
    return [
        (counted(int(n), "sample"), f"{value['mean']:.3f} ({value['low']:.3f}-{value['high']:.3f})")
        for n, value in (evaluation or {})["ged2"].items()
        if None not in (value["mean"], value["low"], value["high"])
    ]


def _where(evaluation: Mapping[str, Any]) -> str:
    data = evaluation["data"]
    images = (
        f"{data['images']:,} images of {data['patients']:,} patients, split {data['split']}, {_short(data['title'])}"
    )
    if how := LEARNED_FROM.get(str(data["split"])):
        images += f" (which models are {how})"
    return f"On {images}; 95 % intervals; {_short(evaluation['convention']['words'])}. Lower is better."


def _figures(evaluation: Mapping[str, Any] | None) -> str:
    if not evaluation:
        return "It was not evaluated before it was exported."
    if not _is_whole(evaluation):
        return "They are in the description beside this card."
    rows = [f"| D_GED^2, {words} | {value} |" for words, value in _scores(evaluation)]
    return "\n".join([_escaped(_where(evaluation)), "", "| | mean (interval) |", "|---|---|", *rows])


def _short(text: object) -> str:
    """Text of a description in one line that is not endless."""
    return "".join(letter for letter in " ".join(str(text).split())[:300] if letter.isprintable())


def _escaped(line: str) -> str:
    """A line as it can stand in Markdown: nothing in it is markup."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|#" else letter for letter in line)
