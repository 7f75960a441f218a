"""What a person should know of the model before believing what the page shows."""

from __future__ import annotations

from typing import Any

from probunet.runs.description import TrainedModel
from probunet.runs.exported import facts_of
from probunet.runs.model_card import model_facts
from probunet.runs.run import Run


def about(trained: TrainedModel) -> list[dict[str, Any]]:
    """Purpose, input, data, figures, limits and licence of a model: titles with lines of plain text."""
    scores = trained.evaluation() if isinstance(trained, Run) else trained.settings.get("evaluation")
    facts = facts_of(trained) | {"training": trained.training(), "evaluation": scores}
    return [{"title": title, "lines": lines} for title, lines in model_facts(facts).items()]
