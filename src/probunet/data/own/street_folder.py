"""Real street photographs with one label map each, described by a class table; five classes flip as in the paper.

The official Cityscapes folders are one such table (``cityscapes.yaml``), any other set is another: where images and
label maps lie, what the label ids mean, which classes flip (paper, section 4.2).
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from pydantic import ConfigDict, Field, TypeAdapter

from probunet.core.descriptions import read_yaml
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.intensity import Intensity
from probunet.core.names import path_below
from probunet.core.shipped import named
from probunet.core.types import IGNORE
from probunet.data.blocks import majority_of_blocks
from probunet.data.flips import with_flips
from probunet.data.manifest import SPLITS, Case, Split, sentence
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.store import Store
from probunet.io.pictures import read_file

GREY_LEVELS = Intensity("grey level", offset=128, scale=64)


LabelId = Annotated[int, Field(ge=0, le=65535)]
Side = Annotated[int, Field(ge=1, le=1 << 15)]


@dataclass(frozen=True)
class ClassTable:
    """What a set of labelled photographs looks like.

    Attributes:
        title: one line for people.
        licence: with source.
        images: path of an image under the root, with the placeholders {split} and {name}; {name} may reach over
            two folders, the first of which then is the city.
        labels: path of its label map, with the same placeholders.
        folders: what stands for {split}, by split; several splits may share one folder, see ``cities``.
        ids: name of the class by id in the label files; the classes of the store have this order.
        ignored_ids: ids without a meaning for the task.
        flips: probability of the classes that flip.
        size: height and width in the store, in pixels; a whole fraction of the files' own.
        cities: those that belong to a split, where a folder does not say it; other cities of a shared folder are
            for the split that is named first.
        counts: how many images the complete set has, by split; a difference is told.
    """

    title: str
    licence: str
    images: str
    labels: str
    folders: dict[Split, str]
    ids: dict[LabelId, str]
    ignored_ids: list[LabelId]
    flips: dict[str, float]
    size: tuple[Side, Side]
    cities: dict[Split, list[str]] = field(default_factory=dict)
    counts: dict[Split, int] = field(default_factory=dict)

    __pydantic_config__ = ConfigDict(extra="forbid")


def load_class_table(file: Path | None) -> ClassTable:
    """Read a class table; the one of Cityscapes if no file is given.

    Raises:
        InputError: no YAML, a key missing or unknown, a value of another kind, or a split that does not exist.
    """
    source = file or Path(__file__).with_name("cityscapes.yaml")
    content = read_yaml(source)
    if isinstance(content.get("flips"), dict):
        content["flips"] = {name: _fraction(share) for name, share in content["flips"].items()}
    with sentence(source, "see docs/data/streets.md"):
        table: ClassTable = TypeAdapter(ClassTable).validate_python(content)
    for text in (table.images, table.labels, *table.folders.values()):
        path_below(text, shown(source))
    for key, pattern in (("images", table.images), ("labels", table.labels)):
        if pattern.count("{name}") != 1:
            raise InputError(f"{shown(source)} has the {key} '{pattern[:80]}'; {{name}} must be in it once")
    return table


def find_photographs(root: Path, table: ClassTable) -> list[CaseSource]:
    """Find all images with their label maps, in the order of their names.

    Raises:
        InputError: no such folder, no images, or a label map without an image or an image without a label map.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; unpack the data first and give the folder that holds it")
    sources: list[CaseSource] = []
    lookup = _lookup(table)
    for folder in dict.fromkeys(table.folders.values()):
        images, labels = (_named(root, pattern, folder) for pattern in (table.images, table.labels))
        for one, others, kind in ((images, labels, "label map"), (labels, images, "image")):
            if missing := sorted(one.keys() - others.keys()):
                raise InputError(f"{one[missing[0]]} has no {kind} ({len(missing)} such files); complete {root}")
        for name in sorted(images):
            split, city = _split(name, folder, table)
            draw = partial(draw_photograph, images[name], labels[name], lookup, table.size)
            sources.append(CaseSource(Case(f"{folder}/{name}", city, split), draw))
    if not sources:
        raise InputError(f"{root} holds no images named {table.images}; is it the right folder?")
    return sources


def draw_photograph(image: Path, label: Path, lookup: npt.NDArray[np.int16], size: tuple[int, int]) -> Drawn:
    """Read one image and its label map and reduce both: the image by averaging, the label by majority.

    Args:
        image: RGB file.
        label: file of label ids.
        lookup: (65536,) class by label id, -1 where the id has no meaning.
        size: (h, w) of the result.

    Returns:
        (3, h, w) uint8 and (1, h, w) uint8.

    Raises:
        InputError: unreadable, of different or unfitting size, or with a label id that the table does not know.
    """
    rgb, ids = _rgb(image), _ids(label)
    if rgb.shape[:2] != ids.shape:
        raise InputError(f"{image} is {rgb.shape[:2]} px, its label map {label} has shape {ids.shape}; they must agree")
    factors = {ids.shape[0] / size[0], ids.shape[1] / size[1]}
    if len(factors) != 1 or not factors.copy().pop().is_integer():
        raise InputError(f"{label} is {ids.shape[0]}x{ids.shape[1]} px, not a whole multiple of {size[0]}x{size[1]}")
    classes = lookup[ids]
    if (classes < 0).any():
        raise InputError(f"{label} holds label id {int(ids[classes < 0][0])}, which the class table does not know")
    reduced = np.asarray(PILImage.fromarray(rgb).resize((size[1], size[0]), PILImage.Resampling.BOX))
    return np.moveaxis(reduced, -1, 0), majority_of_blocks(classes.astype(np.uint8), int(factors.pop()))[None]


def prepare_labelled(root: Path, classes: Path, out: Path, jobs: int = -1) -> Store:
    """Prepare street photographs with stochastic label flips, by a class table.

    The arguments are those of the command ``probunet prepare labelled``.

    Raises:
        InputError: the table or a file cannot be used; the message names it.
    """
    table = named(classes, Path(__file__).parent)
    return _prepare(root, load_class_table(table), out, jobs, {"command": "prepare labelled", "table": table.name})


def prepare_cityscapes(root: Path, out: Path, jobs: int = -1) -> Store:
    """Prepare Cityscapes with the paper's five stochastic label flips, at 256x512 px.

    The official training images without Darmstadt, Moenchengladbach and Ulm are for training (2,701), those three
    cities for validation (274), the official validation images for testing (500).

    The arguments are those of the command ``probunet prepare cityscapes``.

    Raises:
        InputError: a file is missing or cannot be used; the message names it.
    """
    return _prepare(root, load_class_table(None), out, jobs, {"command": "prepare cityscapes"})


def _prepare(root: Path, table: ClassTable, out: Path, jobs: int, arguments: dict[str, Any]) -> Store:
    sources = find_photographs(root, table)
    found = {split: sum(source.case.split == split for source in sources) for split in SPLITS}
    notes = {}
    if table.counts and found != table.counts:
        notes["counts"] = f"the complete set has {table.counts}, found {found}"
    names, flips = with_flips(list(dict.fromkeys(table.ids.values())), table.flips)
    description = Description(
        title=table.title,
        licence=table.licence,
        arguments=arguments,
        intensity=GREY_LEVELS,
        spacing_mm=None,
        classes=names,
        flips=flips,
        notes=notes,
    )
    return write_store(out, sources, description, np.uint8, jobs=jobs)


def _named(root: Path, pattern: str, folder: str) -> dict[str, Path]:
    """All files of a pattern by what stands for {name}."""
    before, after = pattern.replace("{split}", folder).split("{name}")
    paths = [*root.glob(f"{glob.escape(before)}*{glob.escape(after)}")]
    paths += root.glob(f"{glob.escape(before)}*/*{glob.escape(after)}")
    return {path.relative_to(root).as_posix()[len(before) : -len(after) or None]: path for path in paths}


def _split(name: str, folder: str, table: ClassTable) -> tuple[Split, str]:
    city = name.split("/")[0]
    sharing = [split for split, other in table.folders.items() if other == folder]
    named = [split for split in sharing if city in table.cities.get(split, [])]
    return (named or sharing)[0], city


def _lookup(table: ClassTable) -> npt.NDArray[np.int16]:
    order = list(dict.fromkeys(table.ids.values()))
    lookup = np.full(65536, -1, np.int16)
    lookup[table.ignored_ids] = IGNORE
    for number, name in table.ids.items():
        lookup[number] = order.index(name)
    return lookup


def _rgb(file: Path) -> npt.NDArray[np.uint8]:
    """(H, W, 3), also of grey levels."""
    values = read_file(file).slice(0)
    if values.dtype != np.uint8 or len(values) not in (1, 3):
        raise InputError(f"{file} holds {len(values)} channel(s) of {values.dtype}; a photograph of 8 bits is needed")
    return np.ascontiguousarray(np.moveaxis(np.broadcast_to(values, (3, *values.shape[1:])), 0, -1))


def _ids(file: Path) -> npt.NDArray[Any]:
    """(H, W) label ids from 0 to 65535."""
    ids = read_file(file, class_ids=True).labels()[0]
    if ids.size and not 0 <= ids.min() <= ids.max() <= 65535:
        raise InputError(f"{file} holds label ids from {ids.min()} to {ids.max()}; from 0 to 65535 are possible")
    return ids


def _fraction(share: Any) -> Any:
    """The number of ``8/17``; anything else as it is."""
    if isinstance(share, str) and (match := re.fullmatch(r"(\d{1,9})/([1-9]\d{0,8})", share)):
        return int(match[1]) / int(match[2])
    return share
