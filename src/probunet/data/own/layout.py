"""Which file of a folder is an image of which case, and which is a reading of it: by names alone, nothing is opened."""

from __future__ import annotations

import re
from pathlib import Path

from probunet.core.errors import InputError
from probunet.io.formats import ending, is_left_behind

NNUNET_FOLDERS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")
"""What may lie beside ``dataset.json`` where cases are no folders."""


def find_files(
    root: Path, suffix: str, channels: int
) -> tuple[dict[str, tuple[Path, ...]], dict[str, dict[str, Path]]]:
    """Images and readings by case: in imagesTr and labelsTr, or in a folder for each case.

    Args:
        root: the folder.
        suffix: of all files.
        channels: of an image.

    Raises:
        InputError: a file too many, missing or named twice.
    """
    folders = [] if (root / "imagesTr").exists() else [path for path in _listed(root) if path.is_dir()]
    if any(file.name.startswith("image") for folder in folders for file in _listed(folder)):
        images, readings = {}, {}
        for folder in folders:
            files = _readings(folder, suffix)
            own = {name: file for name, file in files.items() if re.fullmatch(r"image(_\d{4})?", name)}
            if sorted(own) not in (["image"], [f"image_{k:04d}" for k in range(channels)]):
                raise InputError(f"{folder} holds no image{suffix}, or not one for each channel; put it there")
            if len(own) == len(files):
                raise InputError(f"{folder} holds no reading; put <reader>{suffix} there or remove the case")
            images[folder.name] = tuple(own[name] for name in sorted(own))
            readings[folder.name] = {name: file for name, file in files.items() if name not in own}
        return images, readings
    named = (root.glob(f"*/{name}{suffix}") for name in ("image", "image_0000"))
    if beside := [file for files in named for file in files if file.parent.name not in NNUNET_FOLDERS]:
        raise InputError(
            f"{beside[0]} is a case in a folder of its own, which is not read beside imagesTr; put all cases in one of "
            "both ways"
        )
    images = _images(root / "imagesTr", suffix, channels)
    readings = {name: _readings(root / "labelsTr" / name, suffix) for name in images}
    _refuse_strangers(root / "labelsTr", {*images, *(name + suffix for name in images)})
    return images, readings


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not is_left_behind(path.name))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}); the folder is needed") from error


def _images(folder: Path, suffix: str, channels: int) -> dict[str, tuple[Path, ...]]:
    found: dict[str, dict[int, Path]] = {}
    for path in _listed(folder):
        match = re.fullmatch(r"(.+)_(\d{4})", path.name[: -len(suffix)])
        if not path.name.lower().endswith(suffix) or match is None:
            raise InputError(f"{path} is not named <case>_0000{suffix} as dataset.json says; rename or remove it")
        if found.setdefault(match[1], {}).setdefault(int(match[2]), path) is not path:
            raise InputError(f"{path}: the case '{match[1]}' is named twice; keep one of the files")
    if not found:
        raise InputError(f"{folder} holds no images; put <case>_0000{suffix} there")
    for name, files in found.items():
        if sorted(files) not in (list(range(channels)), [0]):
            raise InputError(f"{folder}: case '{name}' has the channels {sorted(files)}, dataset.json names {channels}")
    return {name: tuple(files[k] for k in sorted(files)) for name, files in found.items()}


def _readings(folder: Path, suffix: str) -> dict[str, Path]:
    single = folder.with_name(folder.name + suffix)
    if single.exists():
        if folder.exists():
            raise InputError(f"there are both {single} and a folder of readings {folder}; keep one of them")
        return {"reader": single}
    found: dict[str, Path] = {}
    for path in _listed(folder):
        if ending(path) != suffix:
            raise InputError(f"{path} does not end in {suffix} as dataset.json says; convert or remove it")
        if found.setdefault(path.name[: -len(suffix)], path) is not path:
            raise InputError(f"{path}: this reader is named twice; keep one of the files")
    if not found:
        raise InputError(f"{folder} holds no reading; put <reader>{suffix} there or remove the case")
    return found


def _refuse_strangers(folder: Path, known: set[str]) -> None:
    if strangers := [path for path in _listed(folder) if path.name not in known]:
        raise InputError(f"{strangers[0]} belongs to no case in imagesTr; remove it or add its image")
