"""YAML files that come with this package and have a name in place of a path: configurations, class tables."""

from __future__ import annotations

from pathlib import Path

from probunet.core.errors import InputError


def shipped(folder: Path) -> dict[str, Path]:
    """The files of a folder of this package by their names."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def named(text: Path | str, folder: Path) -> Path:
    """The file of this package that a bare name means; any other text is a path of the user's.

    Args:
        text: a name, or a path.
        folder: where the files lie.

    Raises:
        InputError: a bare name that means nothing, or that something in the working folder has as well.
    """
    path, files = Path(text), shipped(folder)
    if path.suffix or len(path.parts) != 1 or (path.exists() and str(path) not in files):
        return path
    if str(path) not in files:
        raise InputError(f"{str(path)[:80]} is no file, and none of those that come with probunet: {', '.join(files)}")
    if path.is_file():
        raise InputError(f"{path} comes with probunet and is also {path.absolute()}; give the path for the second")
    return files[str(path)]
