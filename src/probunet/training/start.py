"""Weights to begin a training with: those of a model that was trained before, on other data or on slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.runs.calibration import weights_identity
from probunet.runs.description import START, TrainedModel


@dataclass(frozen=True)
class Start:
    """A trained model whose weights others begin with.

    A model of volumes may begin with one of slices that has the same networks: every kernel comes to lie in the middle
    slice of the larger one, so that at first each slice is seen alone.

    Attributes:
        trained: the model.
        weights: by name.
        identity: checksum of the weights.
    """

    trained: TrainedModel
    weights: dict[str, torch.Tensor]
    identity: str

    @classmethod
    def of(cls, trained: TrainedModel) -> Start:
        """Read a trained model.

        Raises:
            InputError: it cannot be read.
        """
        model = trained.model()
        return cls(trained, model.state_dict(), weights_identity(model))

    def begin(self, name: str, model: SegmentationModel) -> None:
        """Give a new model these weights.

        Args:
            name: of the model.
            model: changed in place.

        Raises:
            InputError: its networks are others.
        """
        own, theirs, kind = model.state_dict(), self.trained.specification.kind, type(model).__name__
        if different := sorted(own.keys() ^ self.weights.keys()):
            where = "here" if different[0] in own else "there"
            which = f"'{different[0]}' is only {where}"
            self._refuse(name, which if theirs == kind else f"{theirs} there and {kind} here")
        model.load_state_dict({key: self._fitted(name, key, value) for key, value in own.items()})

    def check(self, store: Store) -> None:
        """Refuse data whose validation would be on patients that these weights know.

        Raises:
            InputError: as said.
        """
        if both := self.trained.knows(store.patients("validation"), ["train"]):
            raise InputError(
                f"{len(both)} patients of the validation split of {store.path} are ones that {self.trained.path} was "
                f"trained on ({', '.join(both[:5])}); prepare the data with its split, or begin with other weights"
            )

    def note(self, intensity: Intensity) -> str:
        """A sentence where the data has other units than these weights saw; empty where it has the same."""
        seen = self.trained.intensity
        if seen == intensity:
            return ""
        here, there = (f"'{i.unit}' (offset {i.offset:g}, scale {i.scale:g})" for i in (intensity, seen))
        return (
            f"note: the weights of {self.trained.name} saw values in {there}, this training has {here}; they are a "
            "beginning all the same, and the new model takes pictures in the new unit"
        )

    def described(self) -> dict[str, str]:
        """What a run says of its beginning."""
        return {"model": self.trained.path.name, "weights": self.identity}

    def patients(self) -> dict[str, list[str]]:
        """Checksums of all patients who had a part in these weights: in their training, and in their choice."""
        known = self.trained.checksums()
        return {name: sorted({*known.get(split, ()), *known.get(name, ())}) for split, name in START.items()}

    def _fitted(self, name: str, key: str, new: torch.Tensor) -> torch.Tensor:
        """One weight in the shape of the new model's."""
        value = self.weights[key]
        if value.ndim == 4 and new.ndim == 5 and value.shape == new.shape[:2] + new.shape[3:]:
            wide = torch.zeros_like(new)
            wide[:, :, new.shape[2] // 2] = value
            return wide
        if value.shape != new.shape:
            there, here = (" x ".join(map(str, part.shape)) for part in (value, new))
            self._refuse(name, f"'{key}' is {there} there and {here} here")
        return value

    def _refuse(self, name: str, what: str) -> None:
        raise InputError(
            f"model '{name}' cannot begin with the weights of {self.trained.path}, whose networks are others: {what}; "
            "give it the same class and arguments"
        )
