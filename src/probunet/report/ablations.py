"""What each part of the Probabilistic U-Net is good for (paper, appendix D)."""

from __future__ import annotations

from probunet.metrics import compare
from probunet.report.results import Results, ablation, is_full
from probunet.report.section import Estimate, Section, Table, estimate
from probunet.runs.run import Run

WORDS = {
    ("prior", "fixed"): "prior N(0, I) instead of one conditional on the image",
    ("posterior", "label"): "posterior sees the label only",
    ("inject", "start"): "latent at the start of the U-Net",
}


def section(results: Results) -> Section | None:
    """Table of the full model and its ablations; only where there are both."""
    full = [run for run in results.runs if is_full(run)]
    ablated = [run for run in results.runs if ablation(run)]
    if not full or not ablated:
        return None
    most = max(results.numbers)
    column = f"ged2_n{most}"
    rows = []
    for run in [full[0], *ablated]:
        words = ", ".join(WORDS[item] for item in ablation(run).items()) or "the full model"
        if (own := _normalised(run)) != _normalised(full[0]):
            words += f", {'with' if own else 'without'} batch normalisation"
        cells = [results.evaluations[run.name][key][str(most)] for key in ("ged2", "ged2_unbiased")]
        difference: Estimate = (None, None, None)
        p_value = ""
        if run is not full[0]:
            ours, theirs = results.values(run.name, column), results.values(full[0].name, column)
            test = compare(ours, theirs, results.groups, seed=results.seed)
            difference = (test.difference.mean, test.difference.low, test.difference.high)
            p_value = f"{test.p_value:.2g}"
        rows.append([run.name, words, *(estimate(cell) for cell in cells), difference, p_value])
    columns = ["model", "what differs", f"D²_GED, {most} samples", "excess", "worse than the full model by", "p"]
    text = [f"V-statistic with {most} samples; Wilcoxon signed-rank tests by patient, not corrected (Holm's above)."]
    return Section("What is each part good for?", text, [Table("ablations", "", columns, rows)])


def _normalised(run: Run) -> bool:
    return bool(run.specification.arguments.get("batch_norm"))
