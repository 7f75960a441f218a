"""Agreement with the readers: D_GED^2 against the number of samples, and tests (paper, Fig. 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from probunet.drawing.pictures import new_figure
from probunet.evaluation.model_draws import COVERED
from probunet.metrics import Comparison, Convention, bootstrap_interval, compare_all
from probunet.report.results import Results
from probunet.report.section import Estimate, Picture, Section, Table, estimate, style

POINTS = 300
TERMS = {
    "excess": "“Excess” says how much further from the readers a model is than a perfect one; it does not depend on "
    "the number of samples.",
    "samples": "The columns by number of samples are the published V-statistic. It is biased: even a perfect model, "
    "which is the readers' distribution itself, scores E d(Y,Y') (1/n + 1/R), the row “perfect model”. Never compare "
    "it across columns. “Unlimited” is what it tends to with ever more samples. The excess is the unbiased estimate.",
    "cover": "Samples “that cover” are drawn together so that few of them stand for the whole distribution; each is "
    "still an exact draw.",
    "grey": "The other grey rows need no model: “draws from the readers” draws from the very readings it is scored "
    "against, which no model can.",
}
"""What the words of the table mean."""


def section(results: Results) -> Section:
    """Tables of both estimators, the figure, and Wilcoxon tests of every pair."""
    most = max(results.numbers)
    text = [
        f"Lower is better. {TERMS['excess']} 95 % intervals over {_plural(results.first['grouped_by'], results)}.",
        *_few(results),
    ]
    tests = {"ged2_v": _tests(results, unlimited=False), "ged2_unlimited": _tests(results, unlimited=True)}
    tables = [_table(results)]
    for key, words in (("ged2_v", f"V-statistic, {most} samples"), ("ged2_unlimited", "unlimited samples")):
        shown = [
            _from_reference(test, results.reference)
            for test in tests[key]
            if results.reference in (test.first, test.second)
        ]
        tables.append(_test_table(f"{key}_against_reference", f"Tests against {results.reference}: {words}", shown))
        tables.append(_test_table(f"{key}_all_pairs", words, tests[key], shown=False))
    caption = (
        f"As Fig. 4 of the paper: a dot is one image (at most {POINTS} are drawn), the line joins the means over all "
        f"{results.data['images']:,} images; V-statistic."
    )
    picture = Picture("energy", "D²_GED against the number of samples", _figure(results), caption)
    shown_tables = [table for table in tables if table.rows]
    return Section("How well do hypotheses and readers agree?", text, shown_tables, [picture], _notes(results))


def verdict(results: Results) -> list[str]:
    """Whether the model says better what readers would draw than one outline does, which is their majority."""
    most, name = max(results.numbers), results.reference
    column = f"ged2_n{most}"
    ours, outline = results.values(name, column), results.of_majority
    known = ~np.isnan(ours) & ~np.isnan(outline)
    if not known.any():
        return []
    groups = [group for group, usable in zip(results.groups, known, strict=True) if usable]
    gain = bootstrap_interval(ours[known] - outline[known], groups, seed=results.seed)
    words = (
        "nearer to"
        if gain.high < 0
        else "further from"
        if gain.low > 0
        else "neither clearly nearer to nor further from"
    )
    who = "modes" if results.store.flips else "readers"
    text = (
        f"{name} is {words} the {who} than one outline, their majority, is: D²_GED with {most} samples is "
        f"{ours[known].mean():.3f} against {outline[known].mean():.3f}, a difference of {_signed(gain.mean)} "
        f"({_signed(gain.low)} to {_signed(gain.high)}); lower is better."
    )
    perfect = results.values(name, f"perfect_model_n{most}")
    if not np.isnan(perfect).all():
        text += f" A model that draws exactly as they do would have {np.nanmean(perfect):.3f}{_of_several(results)}."
    return [text]


def _of_several(results: Results) -> str:
    """On which images a perfect model's distance is known, in words, where that is not on all that were scored."""
    column = f"n{max(results.numbers)}"
    scored = ~np.isnan(results.values(results.names[0], f"ged2_{column}"))
    known = ~np.isnan(results.values(results.names[0], f"perfect_model_{column}"))
    if not known.any() or known.sum() == scored.sum():
        return ""
    return f" on the {known.sum():,} of {scored.sum():,} images that two or more read"


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _notes(results: Results) -> list[str]:
    between = "modes" if results.store.flips else "readers' outlines"
    distance = Convention.from_json(results.first["convention"])
    first = f"D²_GED: the squared generalised energy distance between hypotheses and {between}. Distance: {distance}."
    several = _of_several(results)
    also = [f"Excess and perfect model are{several}; the columns by number of samples are on all."] if several else []
    return [first, *(note for key, note in TERMS.items() if key != "excess"), *also]


def _few(results: Results) -> list[str]:
    most = max(results.numbers)
    few = {name: results.evaluations[name]["distinct_hypotheses"] for name in results.names}
    words = [f"{name} has {m}" for name, m in few.items() if m is not None and m < most]
    if not words:
        return []
    return [
        f"Not every model has {most} different hypotheses (marked *): {', '.join(words)}. Members and heads are "
        "drawn without replacement, and again when all were drawn; every column is drawn anew."
    ]


def label(results: Results, name: str) -> str:
    """Name of a run, marked where it has fewer hypotheses than samples were asked for."""
    distinct = results.evaluations[name]["distinct_hypotheses"]
    return f"{name}*" if distinct is not None and distinct < max(results.numbers) else name


def _table(results: Results) -> Table:
    points = results.first["reference_points"]
    most = str(max(results.numbers))
    few = [n for n in results.numbers if 1 < n <= COVERED][-1:]
    covering = {f"{n} that cover": f"ged2_covering_n{n}" for n in few}
    rows: list[list[Any]] = []
    for name in results.names:
        values = results.evaluations[name]
        cells = [estimate(cell) for cell in values["ged2"].values()]
        beside = [_over_images(results, name, column) for column in (*covering.values(), "ged2_unlimited")]
        rows.append([label(results, name), estimate(values["ged2_unbiased"][most]), *cells, *beside])
    first = results.names[0]
    perfect = [_over_images(results, first, f"perfect_model_n{n}") for n in results.numbers]
    blank = [(None, None, None)] * len(covering)
    rows.append(["perfect model", None, *perfect, *blank, _over_images(results, first, "perfect_model_unlimited")])
    for name, values in points.items():
        cells = [estimate(cell) for cell in values["ged2"].values()]
        rows.append(
            [name.replace("_", " "), estimate(values["ged2_unbiased"][most]), *cells, *blank, (None, None, None)]
        )
    samples = [f"{n} sample{'s' if n > 1 else ''}" for n in results.numbers]
    return Table("energy", "", ["model", "excess", *samples, *covering, "unlimited"], rows, muted=len(points) + 1)


def _plural(grouped_by: str, results: Results) -> str:
    if grouped_by == "patient":
        return "patients"
    return f"single images, because {len(set(results.patients))} patients are too few to draw as a whole"


def _over_images(results: Results, name: str, column: str) -> Estimate:
    values = results.values(name, column)
    if np.isnan(values).all():
        return None, None, None
    interval = bootstrap_interval(values, results.groups, seed=results.seed)
    return interval.mean, interval.low, interval.high


def _tests(results: Results, unlimited: bool) -> list[Comparison]:
    column = f"ged2_n{max(results.numbers)}"
    values = {
        name: results.values(name, "ged2_unlimited") if unlimited else results.values(name, column)
        for name in results.names
    }
    values = {name: column for name, column in values.items() if not np.isnan(column).all()}
    return compare_all(values, results.groups, seed=results.seed) if len(values) > 1 else []


def _test_table(name: str, title: str, tests: list[Comparison], shown: bool = True) -> Table:
    rows = [
        [
            f"{test.first} − {test.second}",
            (test.difference.mean, test.difference.low, test.difference.high),
            f"{test.p_value:.2g}",
            f"{test.p_holm:.2g}",
            round(test.effect, 3),
            test.pairs,
        ]
        for test in tests
    ]
    columns = ["difference of", "mean difference", "p (Wilcoxon signed-rank)", "p (Holm)", "effect", "pairs"]
    return Table(name, title, columns, rows, shown=shown)


def _from_reference(test: Comparison, reference: str) -> Comparison:
    """The same test as another model minus the reference."""
    if test.first != reference:
        return test
    d = test.difference
    turned = replace(d, mean=-d.mean, low=-d.high, high=-d.low)
    return replace(test, first=test.second, second=test.first, difference=turned, effect=-test.effect)


def _figure(results: Results) -> Figure:
    figure = new_figure(11, 5)
    axis = figure.subplots()
    random = np.random.default_rng(0)
    places = np.arange(len(results.numbers))
    width = 0.8 / len(results.names)
    for i, name in enumerate(results.names):
        offset = (i - (len(results.names) - 1) / 2) * width
        look = style(i)
        for place, n in enumerate(results.numbers):
            values = results.values(name, f"ged2_n{n}")
            values = values[~np.isnan(values)]
            chosen = random.permutation(len(values))[:POINTS]
            jitter = random.uniform(-0.35, 0.35, len(chosen)) * width
            axis.plot(place + offset + jitter, values[chosen], ".", ms=1.5, alpha=0.25, color=look["color"])
        means = [results.evaluations[name]["ged2"][str(n)]["mean"] for n in results.numbers]
        axis.plot(places + offset, means, **look, mec="white", ms=6, lw=1.3, label=label(results, name), zorder=3)
    perfect = np.stack([results.values(results.names[0], f"perfect_model_n{n}") for n in results.numbers])
    if not np.isnan(perfect).all():
        axis.plot(places, np.nanmean(perfect, axis=1), color="0.4", lw=1, label="perfect model")
    for line, (name, values) in zip((":", "--", "-."), results.first["reference_points"].items(), strict=False):
        means = [values["ged2"][str(n)]["mean"] for n in results.numbers]
        axis.plot(places, means, line, color="0.4", lw=1, label=name.replace("_", " "))
    axis.set_xticks(places, [str(n) for n in results.numbers])
    axis.set_xlabel("number of samples")
    axis.set_ylabel("D²_GED (V-statistic)")
    axis.legend(fontsize=8, frameon=False, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
