"""What a person should know of a trained model before believing what it draws."""

from __future__ import annotations

from probunet.runs.description import TrainedModel
from probunet.runs.exported import facts_of
from probunet.runs.model_card import model_facts
from probunet.runs.run import Run


def about(trained: TrainedModel) -> dict[str, list[str]]:
    """Purpose, input, data, figures, limits and licence of a model: lines of plain text by title."""
    scores = trained.figures() if isinstance(trained, Run) else trained.settings.get("evaluation")
    return model_facts(facts_of(trained) | {"training": trained.training(), "evaluation": scores})
