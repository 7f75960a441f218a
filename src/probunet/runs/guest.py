"""A model in an experiment that was trained elsewhere: its place holds results and where the model is, no copy of it.

``guest.yaml`` names the model (a run directory, an exported folder, a published name or ``hub:owner/model``), the
checksum of its weights, and the store and the crop that the experiment evaluates everyone on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from probunet.core.descriptions import read_yaml, write_yaml
from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.batches import Crop
from probunet.data.manifest import sentence
from probunet.runs.description import Size, TrainedModel
from probunet.runs.hub import HUB
from probunet.runs.published import lasting_name
from probunet.runs.run import DESCRIPTION as OWN
from probunet.runs.run import Run

DESCRIPTION = "guest.yaml"


class Place(BaseModel):
    """What ``guest.yaml`` holds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(max_length=4096)
    weights: str = Field(pattern="^[0-9a-f]{64}$")
    store: str = Field(max_length=4096)
    crop: Size | Annotated[tuple[Size, ...], Field(min_length=2, max_length=3)]

    @classmethod
    def read(cls, folder: Path) -> Place:
        """Read the file of a guest's folder.

        Raises:
            InputError: it is no such file.
        """
        file = folder / DESCRIPTION
        content = read_yaml(file)
        if isinstance(content.get("crop"), list):
            content["crop"] = tuple(content["crop"])
        with sentence(file, "compare again"):
            return cls.model_validate(content)


class Guest(Run):
    """The place of a model trained elsewhere among the runs of an experiment.

    Args:
        path: folder in the experiment.
        place: what its ``guest.yaml`` holds.
        elsewhere: the model.

    Attributes:
        elsewhere: the model, which is read only.
    """

    def __init__(self, path: Path, place: Place, elsewhere: TrainedModel) -> None:
        TrainedModel.__init__(self, path, path / DESCRIPTION, elsewhere.settings, elsewhere.trust)
        self.elsewhere, self._place = elsewhere, place
        self.crop: Crop = place.crop

    @property
    def store(self) -> Path:
        """The store of the experiment."""
        return Path(self._place.store)

    @property
    def identity(self) -> None:
        """``None``: nobody wrote down which data that store held."""

    @property
    def log(self) -> Path:
        """Log of its training, where there is one."""
        return self.elsewhere.path / "log"

    @property
    def origin(self) -> TrainedModel:
        """The model elsewhere."""
        return self.elsewhere

    @property
    def weights_file(self) -> Path:
        """The file of its weights, elsewhere."""
        return self.elsewhere.weights_file

    def training(self) -> dict[str, Any] | None:
        """How it was trained, as far as it says."""
        return self.elsewhere.training()

    def weights(self) -> tuple[Path, dict[str, torch.Tensor]]:
        """The weights, as long as they are those that were evaluated; see the base class.

        Raises:
            InputError: others, or none that can be read.
        """
        if sha256(self.weights_file) != self._place.weights:
            raise InputError(f"the model of {self.elsewhere.path} has changed since it was compared; compare it again")
        return self.elsewhere.weights()


def check_place(folder: Path) -> None:
    """Refuse a folder that is no place for a guest.

    Raises:
        InputError: it holds a run of the experiment.
    """
    if (folder / OWN).is_file():
        raise InputError(f"{folder} is a model that was trained in this experiment; give the other one another name")


def invite(folder: Path, elsewhere: TrainedModel, name: str, store: Path, crop: Crop) -> Guest:
    """Give a trained model a place in an experiment.

    Args:
        folder: of the place.
        elsewhere: the model.
        name: of the model, as it was asked for.
        store: that the experiment evaluates on.
        crop: of the images there.

    Raises:
        InputError: the folder holds a run of the experiment, or cannot be written.
    """
    check_place(folder)
    elsewhere = elsewhere.elsewhere if isinstance(elsewhere, Guest) else elsewhere
    source = name if name.startswith(HUB) else lasting_name(name) or str(elsewhere.path)
    place = Place(model=source, weights=sha256(elsewhere.weights_file), store=str(store), crop=crop)
    write_yaml(folder / DESCRIPTION, place.model_dump(mode="json"))
    return Guest(folder, place, elsewhere)
