"""Everything the sections of a page read: evaluated runs, their scores image by image, the data, the models."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.intensity import Intensity
from probunet.core.marks import marked
from probunet.data.batches import EvaluationImages
from probunet.data.pictures import picture_of_case
from probunet.data.store import Store
from probunet.distributions.base import SegmentationDistribution
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.shown import distribution_of
from probunet.inference.predictor import Prediction, Predictor
from probunet.metrics import energy_distance
from probunet.metrics.consensus import majority
from probunet.models.base import SegmentationModel
from probunet.report.columns import Floats, read_columns
from probunet.runs.run import Run
from probunet.runs.specification import Trust
from probunet.runs.trained import runs_in

ORDER = ("UNet", "DropoutUNet", "Ensemble", "MHeads", "Image2ImageVAE", "ProbabilisticUNet")
CASES = 3
"""Images of each kind that are shown."""
BATCH = 32
SAMPLES, MOST_SPREAD, MOST_PIXELS = 16, 300, 2**26
"""Of each of the images that every model draws; how many these are at most, and all their pixels at most."""
ABLATED = {"prior": "conditional", "posterior": "image_and_label", "inject": "end"}
"""Arguments of the Probabilistic U-Net that appendix D changes, with the values of the full model."""


class Results:
    """The evaluated runs of an experiment on the same images.

    Args:
        experiment: folder of the experiment, or a single run directory.
        trust: see ``probunet.runs.specification.Trust``.

    Raises:
        InputError: nothing there was evaluated, or models were evaluated on different data or numbers of samples.
    """

    def __init__(self, experiment: Path, trust: Trust = ()) -> None:
        self.path = Path(experiment)
        self.runs = sorted((r for r in runs_in(experiment, trust) if r.evaluation() is not None), key=_place)
        if not self.runs:
            raise InputError(f"{experiment} holds no evaluation; run 'probunet evaluate {experiment}' first")
        self.evaluations = {run.name: run.evaluation() or {} for run in self.runs}
        self.first = self.evaluations[self.runs[0].name]
        for run in self.runs:
            if run.figures() is None:
                raise InputError(
                    f"{shown(run.path / 'evaluation.json')} is not of the weights that the run has now; run 'probunet "
                    f"evaluate {experiment}' again"
                )
        for name, evaluation in self.evaluations.items():
            here, first = ({**each["data"], "store": None} for each in (evaluation, self.first))
            if here != first:  # the same store may have been named in two ways
                raise InputError(
                    f"{experiment}: {name} and {self.runs[0].name} were evaluated on different data; "
                    "evaluate them together"
                )
            if list(evaluation["ged2"]) != list(self.first["ged2"]):
                raise InputError(
                    f"{experiment}: {name} was evaluated with {', '.join(evaluation['ged2'])} samples, "
                    f"{self.runs[0].name} with {', '.join(self.first['ged2'])}; evaluate them together"
                )
        self.data: dict[str, Any] = self.first["data"]
        self.seed: int = self.first["seed"]
        self.numbers = [int(n) for n in self.first["ged2"]]
        self.store = Store(self.data["store"])
        if self.store.identity().as_json() != self.data.get("identity"):
            raise InputError(
                f"{shown(self.store.path)} is not the data that {experiment} was evaluated on, it was prepared again "
                f"since; run 'probunet evaluate {experiment}' again"
            )
        self._predictors: dict[str, Predictor] = {}
        self._columns: dict[str, dict[str, Floats]] = {}
        self._spread: dict[str, list[npt.NDArray[np.uint8]]] = {}

    @cached_property
    def images(self) -> EvaluationImages:
        """The images that all runs were evaluated on."""
        return self._images(self.store.intensity)

    def _images(self, intensity: Intensity, limit: int | None = None) -> EvaluationImages:
        """The images with values mapped for a model, which a guest was not trained with the map of this store for."""
        crop = self.data["crop"]
        size = None if crop == "whole" else crop if isinstance(crop, int) else tuple(crop)
        return EvaluationImages(self.store, self.data["split"], size, limit, intensity)

    @property
    def groups(self) -> list[str]:
        """Of every image, what intervals and tests take as independent, see ``independent_groups``."""
        return independent_groups(self.patients)[0]

    @property
    def patients(self) -> list[str]:
        """Patient of every image."""
        return [self.store.cases[i].patient for i in self.images.indices]

    @property
    def names(self) -> list[str]:
        """Names of the runs: deterministic first, ablations last."""
        return [run.name for run in self.runs]

    @property
    def reference(self) -> str:
        """The run that others are compared with: the full Probabilistic U-Net, or else the best one."""
        full = [run.name for run in self.runs if is_full(run)]
        most = str(max(self.numbers))
        return (full or sorted(self.names, key=lambda name: self.evaluations[name]["ged2"][most]["mean"]))[0]

    def values(self, name: str, column: str) -> Floats:
        """(images,) scores of one run, NaN where they are not defined; all NaN where the column is missing."""
        return self.columns(name).get(column, np.full(len(self.images), np.nan))

    @cached_property
    def of_majority(self) -> Floats:
        """(images,) D_GED^2 of the majority of an image's readers as the one hypothesis, whatever the number of it."""
        convention, scores = self.store.convention(), []
        for i in range(len(self.images)):
            readings = self.images[i]["labels"].numpy()
            outline = majority(readings, convention.weights)[None, None]
            scores.append(float(energy_distance(outline, readings[None], convention).value[0]))
        return np.array(scores)

    def columns(self, name: str) -> dict[str, Floats]:
        """All scores of one run, (images,) each, by column of ``evaluation.csv``."""
        if name not in self._columns:
            cases = [self.store.cases[i] for i in self.images.indices]
            means = {
                f"ged2_n{n}": cell["mean"]
                for n, cell in self.evaluations[name]["ged2"].items()
                if cell["mean"] is not None
            }
            self._columns[name] = read_columns(self.path_of(name) / "evaluation.csv", cases, means)
        return self._columns[name]

    def path_of(self, name: str) -> Path:
        """Run directory of a run."""
        return self._run(name).path

    def _run(self, name: str) -> Run:
        return next(run for run in self.runs if run.name == name)

    def _image(self, name: str, position: int) -> torch.Tensor:
        """(C, *size) image as a model sees it."""
        image: torch.Tensor = self._images(self._run(name).intensity)[position]["image"]
        return image

    def distribution(self, name: str, position: int) -> SegmentationDistribution:
        """What a model says of one image."""
        with torch.inference_mode():
            return distribution_of(self._model(name), self._image(name, position)[None])

    def _model(self, name: str) -> SegmentationModel:
        return self.predictor(name).model

    def predictor(self, name: str) -> Predictor:
        """A run's model, as it is asked about pictures."""
        if name not in self._predictors:
            self._predictors[name] = Predictor(self._run(name), "cpu")
        return self._predictors[name]

    def prediction(self, name: str, position: int) -> Prediction:
        """What a model says of the picture of a case, in the field that is shown of it; of a volume as a whole."""
        row = int(self.images.indices[position])
        picture, (first, size) = picture_of_case(self.store, row), self.images.window(row)
        if self.images.crop is None or self.store.dims == 3:
            return self.predictor(name)(picture)
        middle = tuple(begin + side // 2 for begin, side in zip(first, size, strict=True))
        return self.predictor(name)(picture, at=middle, size=size)

    def some_images(self, name: str) -> EvaluationImages:
        """The images of :attr:`spread` as a model sees them."""
        return self._images(self._run(name).intensity, len(self.spread))

    def samples(self, name: str, position: int, n: int) -> npt.NDArray[np.uint8]:
        """(n, *size) hypotheses of one image; fewer where a model has fewer different ones."""
        distribution = self.distribution(name, position)
        generator = torch.Generator().manual_seed(self.seed + position)
        with torch.inference_mode():
            drawn = distribution.sample(min(n, distribution.distinct or n), generator)
        return drawn[:, 0].numpy()

    @cached_property
    def spread(self) -> list[int]:
        """Images, spread over all, of which every model draws ``SAMPLES``; few where they are large."""
        pixels = SAMPLES * math.prod(self.images.size)
        count = max(1, min(MOST_SPREAD, MOST_PIXELS // pixels, len(self.images)))
        return np.linspace(0, len(self.images) - 1, count).astype(int).tolist()

    def spread_samples(self, name: str) -> list[npt.NDArray[np.uint8]]:
        """(n, *size) hypotheses of each of the images of :attr:`spread`, drawn once and in batches."""
        if name not in self._spread:
            model, generator = self._model(name), torch.Generator().manual_seed(self.seed)
            drawn: list[npt.NDArray[np.uint8]] = []
            size = BATCH if self.images.crop or self.store.dims == 2 else 1
            with torch.inference_mode():
                for start in range(0, len(self.spread), size):
                    batch = torch.stack([self._image(name, p) for p in self.spread[start : start + size]])
                    samples = distribution_of(model, batch).sample(SAMPLES, generator)
                    drawn.extend(samples.movedim(1, 0).numpy())
            self._spread[name] = drawn
        return self._spread[name]

    def case(self, position: int) -> str:
        """Name of the case behind an image."""
        return self.store.cases[self.images.indices[position]].name

    def raw(self, position: int) -> npt.NDArray[Any]:
        """(C, *size) image in the units of the store."""
        return self.images.raw(position)

    def labels(self, position: int) -> npt.NDArray[np.uint8]:
        """(R, *size) readings, or modes of the label flips with the most probable first."""
        readings = self.images[position]["labels"].numpy()
        weights = self.store.convention().weights
        return readings if weights is None else readings[np.argsort(-np.asarray(weights), kind="stable")]

    @cached_property
    def chosen(self) -> dict[str, list[int]]:
        """Images to show, by what is special about them.

        Drawn at random from the quarter with most and the quarter with least disagreement between readers.

        Clear images are drawn among those where two or more readers looked and each marked something; a patient is
        shown once. With label flips, where every image is equally ambiguous, images are drawn from all.
        """
        random = np.random.default_rng(self.seed)
        if self.store.flips:
            return {"some images": random.permutation(len(self.images))[:CASES].tolist()}
        positions = np.arange(0, len(self.images), max(len(self.images) // 400, 1))
        labels = [self.images[int(i)]["labels"].numpy()[None] for i in positions]
        convention = self.store.convention()
        disagreement = np.concatenate([energy_distance(maps, maps, convention).reader_diversity for maps in labels])
        complete = np.array([maps.shape[1] > 1 and marked(maps, self.store.dims).all() for maps in labels])
        quarter = max(len(labels) // 4, 1)
        clear = np.argsort(np.where(complete, disagreement, np.inf))
        pools = {
            "the readers disagree": np.argsort(-disagreement)[:quarter],
            "the readers agree": clear[: min(quarter, int(complete.sum()))],
        }
        result = {}
        for kind, pool in pools.items():
            patients: dict[str, int] = {}
            for place in random.permutation(pool):
                patients.setdefault(self.patients[positions[place]], int(positions[place]))
            result[kind] = list(patients.values())[:CASES]
        return {kind: images for kind, images in result.items() if images}


def is_full(run: Run) -> bool:
    """Whether it is the Probabilistic U-Net of the paper, without an ablation."""
    return class_name(run) == "ProbabilisticUNet" and not ablation(run)


def ablation(run: Run) -> dict[str, str]:
    """Arguments of a Probabilistic U-Net that differ from the full model's; empty for other models."""
    arguments = run.specification.arguments
    if class_name(run) != "ProbabilisticUNet":
        return {}
    return {key: arguments[key] for key, full in ABLATED.items() if arguments.get(key, full) != full}


def class_name(run: Run) -> str:
    """Name of the model's class."""
    return run.specification.kind


def _place(run: Run) -> tuple[int, int, str]:
    kind = class_name(run)
    return ORDER.index(kind) if kind in ORDER else len(ORDER), len(ablation(run)), run.name
