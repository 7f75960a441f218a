"""``dataset.json``: what a folder of images and readings says of itself, as one schema."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from probunet.core.descriptions import read_json
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.types import IGNORE
from probunet.data.manifest import LONGEST_NAME, Split, sentence
from probunet.io.formats import KINDS

log = logging.getLogger(__name__)

ENDINGS = tuple(known for known, kind in KINDS.items() if kind.name not in ("DICOM", "JPEG"))
"""Of files that hold one image or one reading each; JPEG keeps no class ids."""


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class Facts(BaseModel):
    """``dataset.json``: the three entries of nnU-Net, and ours.

    Attributes:
        channel_names: name of a channel by its number, "0", "1", ...
        labels: value in label files by the name of the class, background first; ``ignore`` is the value of pixels that
            count nowhere.
        file_ending: of all files.
        name: of the set.
        licence: of images and readings.
        patients: whose a case is.
        splits: cases of each split.
        persistent_readers: whether a reader's name is the same person in all cases.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    channel_names: Annotated[dict[Annotated[str, Field(pattern="^[0-9]{1,4}$")], Text], Field(min_length=1)]
    labels: Annotated[dict[Text, int], Field(min_length=2)]
    file_ending: Text
    name: Annotated[str, Field(max_length=1000)] = ""
    licence: Annotated[str, Field(max_length=20_000)] = "not given"
    patients: dict[Text, Text | int] = {}
    splits: dict[Split, list[str]] = {}
    persistent_readers: bool = True


SMALLEST = (
    '{"channel_names": {"0": "grey"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}'
    " (all keys: docs/data/own.md)"
)
NNUNET = {
    *("numTraining", "numTest", "training", "test", "description", "reference", "release", "tensorImageSize"),
    *("modality", "dataset_name", "converted_by", "overwrite_image_reader_writer", "license", "regions_class_order"),
}
"""Further entries of nnU-Net, which change nothing here."""


def class_names(facts: Facts, where: Path) -> tuple[tuple[str, ...], int | None]:
    """Names of the classes by value, and the value that means "not known".

    Raises:
        InputError: values with a gap, too many of them, a background that is not 0, or a class nearly named "ignore".
    """
    labels = dict(facts.labels)
    if odd := next((name for name in labels if name != "ignore" and name.strip().casefold() == "ignore"), None):
        raise InputError(
            f"{where} has the label '{odd[:40]}'; write 'ignore' if it means pixels that nobody knows, "
            "and another name if it is a class"
        )
    ignore = labels.pop("ignore", None)
    classes = sorted(labels, key=lambda name: labels[name])
    values = [labels[name] for name in classes]
    if len(classes) > IGNORE:
        raise InputError(f"{where} has {len(classes)} classes in labels; at most {IGNORE} can be stored")
    if values != list(range(len(classes))) or len(classes) < 2:
        raise InputError(f"{where} gives labels the values {str(values)[:80]}; they must be 0, 1, 2, ... without a gap")
    check_background(classes, str(where))
    if ignore is not None and not len(classes) <= ignore <= 1 << 16:
        raise InputError(f"{where} gives the label 'ignore' the value {ignore}; it must be larger than the others")
    return tuple(classes), ignore


def check_background(classes: Sequence[str], where: str) -> None:
    """Refuse a background that is not class 0: it would be measured as a lesion, and a lesion would not.

    Raises:
        InputError: as said.
    """
    if late := next((k for k, name in enumerate(classes) if k and name.strip().casefold() == "background"), None):
        raise InputError(
            f"{where} gives '{classes[late][:80]}' the value {late} and '{classes[0][:80]}' the value 0, which is that "
            "of the background; exchange them, in the label files too"
        )


def read_facts(file: Path) -> Facts:
    """Read and check ``dataset.json``.

    Raises:
        InputError: it is missing, or something in it cannot be used.
    """
    if not file.exists():
        raise InputError(f"{shown(file)} does not exist; write one, such as {SMALLEST}")
    content = read_json(file)
    with sentence(file, "see docs/data/own.md"):
        facts = Facts.model_validate(content)
    if sorted(map(int, facts.channel_names)) != list(range(len(facts.channel_names))):
        numbers = ", ".join(facts.channel_names)
        raise InputError(f"{shown(file)} numbers channel_names {numbers[:80]}; they must be 0, 1, 2, ...")
    if unread := sorted(facts.model_extra.keys() - NNUNET if facts.model_extra else ()):
        log.warning(f"note: {shown(file)} has '{unread[0][:80]}', which nothing here reads; see docs/data/own.md")
    return facts


def fixed_splits(facts: Facts, where: Path) -> dict[str, Split]:
    """The split of every case for which one is fixed.

    Raises:
        InputError: a case is named twice.
    """
    parts: dict[str, Split] = {}
    for split, names in facts.splits.items():
        for name in names:
            if name in parts:
                raise InputError(f"{where} names the case '{name[:80]}' twice in splits")
            parts[name] = split
    return parts
