"""probunet: ``model(image)`` is a probability distribution over segmentations.

Every public name is loaded when it is first used, so that ``import probunet`` is quick and changes nothing in the
process. The models are those of ``probunet.models``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probunet import metrics as metrics
    from probunet import models as models
    from probunet import testing as testing
    from probunet.core.errors import InputError as InputError
    from probunet.core.errors import Stopped as Stopped
    from probunet.core.intensity import Intensity as Intensity
    from probunet.core.version import VERSION as __version__  # noqa: F401
    from probunet.data.augment import Augmentation as Augmentation
    from probunet.data.own.items import make_store as make_store
    from probunet.data.store import Store as Store
    from probunet.evaluation.evaluate import evaluate as evaluate
    from probunet.inference.predictor import Predictor as Predictor
    from probunet.models import *  # noqa: F403
    from probunet.objectives.energy_score import EnergyScore as EnergyScore
    from probunet.runs.exported import save as save
    from probunet.runs.hub import push_to_hub as push_to_hub
    from probunet.runs.trained import from_pretrained as from_pretrained
    from probunet.runs.trained import load as load
    from probunet.training.task import Optimisation as Optimisation
    from probunet.training.train import train as train

_HOMES = {
    "Augmentation": "data.augment",
    "EnergyScore": "objectives.energy_score",
    "InputError": "core.errors",
    "Intensity": "core.intensity",
    "Optimisation": "training.task",
    "Predictor": "inference.predictor",
    "Stopped": "core.errors",
    "Store": "data.store",
    "__version__": "core.version",
    "evaluate": "evaluation.evaluate",
    "from_pretrained": "runs.trained",
    "load": "runs.trained",
    "make_store": "data.own.items",
    "metrics": "",
    "models": "",
    "push_to_hub": "runs.hub",
    "save": "runs.exported",
    "testing": "",
    "train": "training.train",
}
"""Module of every public name that is no model; rooms have none."""


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name == "__all__":
        return sorted({*_HOMES, *import_module("probunet.models").__all__})
    if name in _HOMES:
        home = _HOMES[name]
        attribute = "VERSION" if name == "__version__" else name
        value = _from(home, attribute) if home else import_module(f"probunet.{name}")
    elif name[:1].isupper() and name in import_module("probunet.models").__all__:
        value = getattr(import_module("probunet.models"), name)
    else:
        raise AttributeError(f"module 'probunet' has no attribute '{name}'")
    globals()[name] = value
    return value


def _from(home: str, name: str) -> Any:
    """Load a name from its module.

    Raises:
        InputError: it needs a package of an extra that is not installed.
    """
    from probunet.core.packages import needed_by

    with needed_by(f"probunet.{name}"):
        return getattr(import_module(f"probunet.{home}"), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__getattr__("__all__")})
