"""Pictures whose channels lie in a file each: nnU-Net's ``case_0000.nii.gz``, ``case_0001.nii.gz``, ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.names import safe_name
from probunet.io.formats import ending, stem
from probunet.io.pictures import Picture, read_file
from probunet.io.stored import Stored


def files_as_pictures(folder: Path, names: Sequence[str], channels: int) -> list[Picture]:
    """The pictures of some files that are no DICOM, in the order of their first files; no file is opened.

    Args:
        folder: where they are.
        names: of the files.
        channels: of a picture; with several, files that are numbered as channels are one picture.
    """
    groups: dict[tuple[str, str], dict[int, str]] = {}
    for name in names:
        numbered = re.fullmatch(r"(.+)_(\d{4})", stem(Path(name))) if channels > 1 else None
        key, number = ((numbered[1], ending(Path(name))), int(numbered[2])) if numbered else ((name, ""), 0)
        groups.setdefault(key, {})[number] = name
    pictures = []
    for (case, _), files in groups.items():
        if len(files) == 1:
            pictures += [read_file(folder / name) for name in files.values()]
            continue
        parts = [read_file(folder / files[number]) for number in sorted(files)]
        numbers = None if sorted(files) == list(range(channels)) else sorted(files)
        open_all = partial(_joined, parts, channels, numbers)
        sources = tuple(part.source for part in parts)
        pictures.append(Picture(safe_name(case), parts[0].source, open_all, parts=sources))
    return pictures


def _joined(parts: Sequence[Picture], channels: int, wrong: Sequence[int] | None) -> Stored:
    """The files as one picture on the axes of the first.

    Raises:
        InputError: other channels than asked for, or files that do not lie on one grid.
    """
    first = parts[0]
    if wrong is not None:
        raise InputError(f"{shown(first.source)} has the channels {list(wrong)}, the model takes 0 to {channels - 1}")
    for part in parts:
        if part.channels != 1:
            raise InputError(f"{shown(part.source)} has {part.channels} channels; a file of one channel is needed")
        placed = (part.affine is None) == (first.affine is None)
        if part.shape != first.shape or not placed or part.same_grid(first) is False:
            raise InputError(
                f"{shown(part.source)} and {shown(first.source)} differ in size, spacing, origin or directions; "
                "resample one to the other"
            )

    def decode() -> np.ndarray:
        return np.concatenate([first.native(np.moveaxis(part.values(), 1, 0)) for part in parts])

    stored = first.stored
    return Stored(
        stored.kind,
        stored.shape,
        np.result_type(*(part.dtype for part in parts)),
        decode,
        channels,
        affine=stored.affine,
        spacing=stored.spacing,
        flat=stored.flat,
        uneven=stored.uneven,
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        nifti=stored.nifti,
    )
