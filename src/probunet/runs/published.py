"""Trained models that come with this package, each a folder as ``save`` writes it and a model card."""

from __future__ import annotations

from pathlib import Path

from probunet.core.errors import InputError

FOLDER = Path(__file__).parent / "weights"
PUBLISHED = "published:"
"""What may stand before such a name, where something here has the same one."""


def published() -> list[str]:
    """Names of the models."""
    return sorted(file.parent.name for file in FOLDER.glob("*/probunet.json"))


def find_published(name: str) -> Path | None:
    """Folder of a published model; ``None`` where the text is no such name.

    Raises:
        InputError: ``published:`` before another name, or a name that something in the working folder has as well.
    """
    bare = name.removeprefix(PUBLISHED)
    if bare not in published():
        if bare != name:
            raise InputError(f"{bare!r} is no published model; there are {', '.join(published())}")
        return None
    if bare == name and Path(name).exists():
        raise InputError(
            f"{name} is a published model and also {Path(name).absolute()}; give {PUBLISHED}{name} for the first, "
            "the whole path for the second"
        )
    return FOLDER / bare


def lasting_name(name: str) -> str | None:
    """Name of a published model wherever it is asked for, and wherever the package lies; ``None`` for any other text.

    Raises:
        InputError: see :func:`find_published`.
    """
    folder = find_published(name)
    return None if folder is None else PUBLISHED + folder.name
