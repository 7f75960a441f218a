"""Models on the Hugging Face Hub (``pip install 'probunet[hub]'``): what ``save`` writes, uploaded and fetched."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.models.base import SegmentationModel
from probunet.runs.exported import save

HUB = "hub:"
"""What a name on the Hub begins with where a path may stand as well."""


def fetch(name: str, revision: str | None = None) -> Path:
    """Fetch a model from the Hub: its weights and its description, nothing else.

    Args:
        name: ``owner/model``.
        revision: branch, tag or commit.

    Returns:
        The folder with it.

    Raises:
        InputError: huggingface-hub is not installed, or nothing of this name is there.
    """
    hub = require("huggingface_hub", f"{name} on the Hub")
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=["*.safetensors", "*.json"]))
    except Exception as error:  # no network, no such model, no permission: each a class of its own
        raise InputError(f"{name} is no folder, and cannot be fetched from the Hub ({error})") from error


def push_to_hub(model: SegmentationModel, name: str, private: bool = False, **facts: Any) -> str:
    """Upload a model.

    Args:
        model: trained model.
        name: ``owner/model`` on the Hub; made where it does not exist.
        private: who may see it, if it is made.
        **facts: see :func:`probunet.runs.exported.save`.

    Returns:
        Where it is.

    Raises:
        InputError: huggingface-hub is not installed, or the Hub refuses.
    """
    api = require("huggingface_hub", f"{name} on the Hub").HfApi()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        save(model, folder, **facts)
        try:
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message="Model of probunet"))
        except Exception as error:  # no network, no such owner, no permission: each a class of its own
            raise InputError(f"{name} cannot be uploaded to the Hub ({error})") from error
