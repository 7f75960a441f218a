"""``probunet sample``: hypotheses for pictures of any kind, with groups of like ones, maps and place in space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np
import numpy.typing as npt

from probunet.core.cluster import in_shards
from probunet.core.console import console, progress_bar
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.files import check_out_folder, regular_file, shown
from probunet.core.seeds import checked_count, checked_seed
from probunet.core.shards import Shard, read_shard
from probunet.inference.predictor import Predictor
from probunet.inference.request import Kind, Request
from probunet.inference.results import Results
from probunet.inference.slices import naming
from probunet.inference.writers import Format
from probunet.io.pictures import Picture
from probunet.io.search import Search
from probunet.metrics.clusters import ALIKE
from probunet.runs.trained import open_model

DEFAULT: tuple[Kind, ...] = ("samples", "groups")
"""What is written where nobody chose."""
SHOWN_NOTES = 20
"""Different notes that are printed; all of them are in the summaries."""


def sample(
    model: str,
    inputs: list[Path],
    /,
    out: Path,
    n: int = 16,
    seed: int = 0,
    format: Format = "png",
    write: list[str] | None = None,
    z: str | None = None,
    at: list[int] | None = None,
    group_distance: float = ALIKE,
    reader: str | None = None,
    above: list[float] | None = None,
    device: str = "auto",
    shard: str | None = None,
    cluster: str | None = None,
    trust: list[str] | None = None,
) -> None:
    """Draw plausible segmentations of pictures and volumes.

    Makes a folder for every picture in OUT: samples.npy (n, slices, H, W) class ids, the hypotheses in the format that
    was asked for, summary.json with the groups of like hypotheses (frequency, area or volume), and in the folder
    maps what --write adds. What is there already is kept, so that the same command goes on where it was stopped.

    Args:
        model: run directory of a trained model, exported folder, or published name.
        inputs: PNG, TIFF, .npy, NIfTI, NRRD, MetaImage or DICOM files, or folders of them, in the raw values of the
            training data (grey levels, HU). A model of volumes sees a volume whole; to one of images its
            slices share the random part of each hypothesis. For a model of several channels, case_0000.nii.gz,
            case_0001.nii.gz, ... are the channels of one picture.
        out: folder of the results.
        n: how many hypotheses.
        seed: of the samples; the same seed gives the same files.
        format: png, nifti, npz, npy for the arrays alone, or for DICOM input dicomseg or
            dicomlabelmap (smaller, read by fewer viewers), with probabilities as a Parametric Map.
        write: samples and groups if not given; further probabilities and entropy (of these hypotheses), marginal
            (of the model, from many more draws), sheet (a picture of all), likelihood (of each group), inner and outer
            (outlines with a risk, where 'probunet calibrate' was run).
        z: latents to decode in place of draws: a .npy file (n, D), or numbers separated by commas.
        at: row and column, in pixels: only a field of the training size around this place is looked at, in all slices;
            with a model of volumes also slice, row and column. All count from 0, slices towards the head, as in
            samples.npy.
        group_distance: average 1 - IoU from which on hypotheses belong to different groups.
        reader: the person who is meant to draw, where the model was trained with readers' names; any of them if not
            given.
        above: volumes in mm3: the summary of a volume tells how probable it is that a class is larger, where the
            distance between slices is known.
        device: where the model runs: auto, cpu, cuda, cuda:1, mps.
        shard: this process's share of the pictures, i/n with i from 0 to n - 1, or auto: as torchrun or srun say.
            Shards need not know of each other: every picture has a folder and a seed of its own.
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Examples:
        probunet sample runs/demo/probabilistic_unet crop.png -n 16 --out hypotheses
        probunet sample runs/lidc/probabilistic_unet ct/ --format dicomseg --out hypotheses
        probunet sample runs/lidc/probabilistic_unet slice.dcm --at 310 140 --out hypotheses
        probunet sample runs/nodules/mixture_of_experts ct.nii.gz --at 71 310 140 --format nifti --out hypotheses
        probunet sample runs/demo/probabilistic_unet crop.png --z 0,0,1.5,0,0,0 --out one
        probunet sample runs/demo/probabilistic_unet crops/ --write samples probabilities entropy --out maps
        probunet sample runs/lidc/probabilistic_unet archive/ --shard 0/4 --out hypotheses
        probunet sample lidc-crops archive/ --cluster tcp://10.0.0.1:8786 --out hypotheses

    Raises:
        InputError: no model, no such shard, or pictures that cannot be read or do not fit the model: all others are
            sampled first, and those are named at the end.
    """
    n = checked_count(n)
    if not 0 < group_distance <= 1:
        raise InputError(f"group_distance={group_distance} is no distance; give above 0 and up to 1")
    if above and min(above) < 0:
        raise InputError(f"--above {min(above):g} is no volume; give 0 or more")
    if at is not None and len(at) not in (2, 3):
        raise InputError(f"--at needs a row and a column, or a slice, a row and a column, got {at}")
    if unknown := set(write or ()) - set(get_args(Kind)):
        raise InputError(f"--write {sorted(unknown)[0]} is not known; choose from {', '.join(get_args(Kind))}")
    latents = None if z is None else read_latents(z)
    request = Request(
        n if latents is None else len(latents),
        checked_seed(seed),
        latents,
        None if at is None else tuple(at),
        group_distance,
        format,
        frozenset(cast("list[Kind]", write) if write else DEFAULT),
        reader,
        tuple(above or ()),
    )
    if shard and cluster:
        raise InputError("--shard and --cluster are two ways to share the work; give one of them")
    share = read_shard(shard)
    check_out_folder(out, inputs)
    Search(inputs, without=out)  # names that do not exist are told before a model is read
    work = _Work(model, tuple(inputs), out, request, device, tuple(trust or ()))
    made = not out.exists()
    try:
        tally = work(share) if cluster is None else _joined(in_shards(cluster, "sampling", work.anywhere()))
    finally:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    if tally.refused:
        raise _refusal(tally, out)
    done = f"{tally.count} picture{'' if tally.count == 1 else 's'} in {shown(out)}"
    console.print(
        f"{request.n} hypotheses of {done}" + (f", {tally.kept} of them were there already" if tally.kept else ""),
        markup=False,
        highlight=False,
    )


@dataclass
class _Tally:
    """How many pictures there were, how many of them were there already, and why others were refused, by name."""

    count: int = 0
    kept: int = 0
    refused: dict[str, InputError] = field(default_factory=dict)


def _joined(tallies: Sequence[_Tally]) -> _Tally:
    refused = {name: error for tally in tallies for name, error in tally.refused.items()}
    return _Tally(sum(tally.count for tally in tallies), sum(tally.kept for tally in tallies), refused)


@dataclass(frozen=True)
class _Work:
    """Everything that a process needs to know to sample its share of the pictures."""

    model: str
    inputs: tuple[Path, ...]
    out: Path
    request: Request
    device: str
    trust: tuple[str, ...]

    def anywhere(self) -> _Work:
        """The same for a process that works in another folder."""
        model = str(Path(self.model).absolute()) if Path(self.model).exists() else self.model
        inputs = tuple(path.absolute() for path in self.inputs)
        return replace(self, model=model, inputs=inputs, out=self.out.absolute())

    def __call__(self, share: Shard) -> _Tally:
        """Go through the pictures; what cannot be done with one of them keeps no other from being sampled."""
        predictor = Predictor(open_model(self.model, self.trust), share.device(chosen_device(self.device)))
        pictures = Search(self.inputs, without=self.out, channels=predictor.model.in_channels)
        if self.request.reader is not None:
            predictor.model.number_of(self.request.reader)
        results, tally, notes, done = Results(self.out, predictor, self.request), _Tally(), set[str](), 0
        with progress_bar() as bar:
            task = bar.add_task("sampling", total=pictures.count_files())
            for number, picture in enumerate(pictures):
                if number % share.count == share.index:
                    tally.count += 1
                    try:
                        with naming(picture):
                            tally.kept += _sampled(picture, results, notes, partial(bar.advance, task))
                    except InputError as error:
                        tally.refused[shown(picture.source)] = error
                        console.print(f"refused: {error}", markup=False, highlight=False)
                done += picture.files
                bar.update(task, completed=done)
        return tally


def _sampled(picture: Picture, results: Results, notes: set[str], advance: Callable[[float], None]) -> bool:
    """Sample a picture and print what is new about it; give whether it was there already."""
    if results.has(picture):
        return True
    said = results.write(picture, partial(advance, picture.files / picture.shape[0]))
    new = set(said) - notes
    notes |= new
    for note in sorted(new) if len(notes) <= SHOWN_NOTES else ():
        console.print(f"note: {picture.name}: {note}", markup=False, highlight=False)
    return False


def _refusal(tally: _Tally, out: Path) -> InputError:
    """One sentence on all pictures that were refused, the first with its reason."""
    refused, count = tally.refused, tally.count
    first, *others = refused
    if count == 1:
        return refused[first]
    more = f"; refused too: {', '.join(others[:SHOWN_NOTES])}" if others else ""
    more += f" and {len(others) - SHOWN_NOTES} more" if len(others) > SHOWN_NOTES else ""
    rest = f", others are in {shown(out)}" if len(refused) < count else ""
    return InputError(f"{len(refused)} of {count} pictures were refused{rest}: {refused[first]}{more}")


def read_latents(text: str) -> npt.NDArray[np.float32]:
    """Read latents from a .npy file (n, D) or (D,), or from numbers separated by commas.

    Raises:
        InputError: neither, or not finite.
    """
    file = regular_file(text) if text.endswith(".npy") else None
    try:
        if file:
            z = np.atleast_2d(np.load(file, mmap_mode="r", allow_pickle=False)).astype(np.float32)
        else:
            z = np.array([[float(number) for number in text.split(",")]], np.float32)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"--z {text[:80]} is neither a .npy file of latents nor numbers such as 0.5,-1,0 ({str(error)[:120]})"
        ) from error
    if z.ndim != 2 or not len(z) or not np.isfinite(z).all():
        raise InputError(f"--z {text[:80]} holds values of shape {z.shape}; finite ones of shape (n, D) are needed")
    return z
